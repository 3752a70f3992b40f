"""What all purifiers share: an image-to-image function before the recognizer, on the probe or on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, Self

from torch import Tensor

from frbench.harness.core.contracts import Draw, Fitted, Images, Verifier
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.verifiers import Purifier, Sides, purified


class Purification(Protocol):
    """What a purifier defense says of itself; the mixin below does the rest.

    purify:    which images pass through it, ``both`` sides of a pair or the ``probe`` alone.
    purifier:  what judges. stand_ins: differentiable versions of it by name, best first.
    """

    @property
    def purify(self) -> Sides: ...

    def purifier(self) -> Purifier: ...

    def stand_ins(self) -> Mapping[str, Purifier]: ...


class PurifierDefense:
    """Mixin: puts a ``Purification`` before a verifier."""

    def protect(self: Purification, verifier: Verifier) -> Verifier:
        return purified(verifier, self.purifier(), self.purify)

    def relaxations(self: Purification, verifier: Verifier) -> Mapping[str, Verifier]:
        return {name: purified(verifier, each, self.purify) for name, each in self.stand_ins().items()}


class FittedPurifierDefense(PurifierDefense):
    """Mixin of dataclasses that are fitted: they have a field ``artifact``, None before. ``option`` is their YAML."""

    option: ClassVar[str]
    artifact: Fitted | None

    def fitted(self, artifact: Fitted) -> Self:
        return replace(self, artifact=artifact)  # type: ignore[type-var]

    @property
    def ready(self) -> Fitted:
        """The artifact. Raises FrbenchError: not fitted."""
        if self.artifact is None:
            raise FrbenchError(f"defense={self.option} is not fitted; run: frbench fit defense={self.option}")
        return self.artifact


@dataclass(frozen=True)
class StraightThrough:
    """Forward the true purifier, backward another one: BPDA (Athalye, Carlini, Wagner, ICML 2018, section 4.1).

    ``backward`` None is the identity. Scores seen by the attacker are then the true ones.
    """

    identity = "purifier.straight_through"
    version = 1

    forward: Purifier
    backward: Purifier | None = None

    differentiable = True

    @property
    def random(self) -> bool:
        return self.forward.random

    @property
    def unclamped(self) -> bool:
        """Whether the values may leave [0, 1]: see ``verifiers.purify``."""
        return getattr(self.forward, "unclamped", False)

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        smooth = images if self.backward is None else self.backward(images, index, draw)
        return smooth + (self.forward(images.detach(), index, draw) - smooth).detach()
