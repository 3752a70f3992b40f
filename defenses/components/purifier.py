"""Base of purifier defenses: an image-to-image function before the recognizer, on the probe or on both images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from frbench.defenses.components.fitted import FittedDefense
from frbench.harness.core.contracts import Draw, Images, Verifier
from frbench.harness.core.purifiers import Purifier, Sides, may_leave_range
from frbench.harness.core.verifiers import purified


class Purification(Protocol):
    """What a purifier defense provides; ``PurifierDefense`` derives the rest.

    Attributes:
        apply_to: the images to purify, ``both`` of a pair or the ``probe`` alone.
    """

    @property
    def apply_to(self) -> Sides: ...

    def purifier(self) -> Purifier:
        """The purifier of the defended system."""

    def differentiable_purifiers(self) -> Mapping[str, Purifier]:
        """Differentiable versions of the purifier by name, for adaptive attackers; the default one first."""


class PurifierDefense:
    """Mixin that puts the purifier of a ``Purification`` before a verifier."""

    def protect(self: Purification, verifier: Verifier) -> Verifier:
        return purified(verifier, self.purifier(), self.apply_to)

    def relaxations(self: Purification, verifier: Verifier) -> Mapping[str, Verifier]:
        return {name: purified(verifier, each, self.apply_to) for name, each in self.differentiable_purifiers().items()}


class FittedPurifierDefense(FittedDefense, PurifierDefense):
    """Mixin of purifier defenses that are fitted."""


@dataclass(frozen=True)
class StraightThrough:
    """BPDA (Athalye et al., ICML 2018, section 4.1): the true purifier forward, a surrogate's gradient backward.

    Attributes:
        forward: the true purifier, so that the attacker sees true scores.
        backward: the surrogate whose gradient is used, or None for the identity.
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
        """Whether values may leave [0, 1]."""
        return may_leave_range(self.forward)

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        smooth = images if self.backward is None else self.backward(images, index, draw)
        return smooth + (self.forward(images.detach(), index, draw) - smooth).detach()
