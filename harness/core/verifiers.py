"""Verifiers: what is attacked and what judges. A recognizer lifted by the cosine, a purified one, an averaged one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from frbench.harness.core.contracts import Draw, Embeddings, Images, Recognizer, Scores, Template, Verifier
from frbench.harness.core.errors import FrbenchError

if TYPE_CHECKING:
    from typing_extensions import TypeIs

Sides = Literal["both", "probe"]


@runtime_checkable
class Embedder(Protocol):
    """A verifier whose score is the cosine of two vectors that each image has for itself.

    Then each distinct image is embedded once, however many pairs name it.
    """

    @property
    def one_sided(self) -> bool:
        """Whether probes and references are embedded differently."""
        ...

    def embed_probe(self, images: Images) -> Embeddings: ...

    def embed_reference(self, images: Images) -> Embeddings: ...


class Comparer(Protocol):
    """A recognizer that compares pairs and shows no vectors, such as a service. ``digest``: of what is known of it.

    ``random``: whether it answers the same question differently each time.
    """

    @property
    def name(self) -> str: ...

    @property
    def differentiable(self) -> bool: ...

    @property
    def random(self) -> bool: ...

    @property
    def digest(self) -> str: ...

    def compare(self, probe: Images, reference: Images) -> Scores: ...


def compares(recognizer: Recognizer | Comparer) -> TypeIs[Comparer]:
    """Whether it shows no vectors. By its class: isinstance would ask for the digest, and read weights."""
    return hasattr(type(recognizer), "compare")


class Purifier(Protocol):
    """Image in, image out: (N, 3, H, W) in [0, 1]; noise, if any, hangs on the pair ``index`` and the draw."""

    @property
    def differentiable(self) -> bool: ...

    @property
    def random(self) -> bool: ...

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images: ...


RANGE_TOLERANCE = 1e-3  # of purified pixels beyond [0, 1]: a quarter of a gray level, far above rounding


def purify(purifier: Purifier, images: Images, index: Tensor, draw: Draw) -> Images:
    """What ``purifier`` makes of ``images``. Raises FrbenchError: that is no batch of such images in [0, 1].

    A purifier that does not clamp by design, as a projection on eigenfaces, says so by ``unclamped = True``; its values
    need only be finite.
    """
    made: object = purifier(images, index, draw)
    if not isinstance(made, Tensor) or made.shape != images.shape or made.dtype != images.dtype:
        shown = f"{made.dtype} {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
        raise FrbenchError(
            f"{_named(purifier)} gives {shown} for images {images.dtype} {tuple(images.shape)}, expected the same type "
            "and shape: bring its output to them"
        )
    low, high = _ends(made)
    finite = math.isfinite(low) and math.isfinite(high)
    right = finite if getattr(purifier, "unclamped", False) else _within(low, high)
    if not right and _within(*_ends(images)):  # an attack that breaks its images is told elsewhere
        found = f"values from {low:g} to {high:g}" if finite else "values that are not finite"
        raise FrbenchError(f"{_named(purifier)} gives images with {found}, expected [0, 1]: scale or clamp them")
    return made


def _ends(images: Images) -> tuple[float, float]:
    """The least and the greatest value, both NaN where one is; 0 and 0 of no images."""
    if not images.numel():
        return 0.0, 0.0
    low, high = images.detach().aminmax()
    return float(low), float(high)


def _within(low: float, high: float) -> bool:
    return low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE


def _named(purifier: Purifier) -> str:
    kind = type(purifier)
    return f"the purifier {kind.__module__}.{kind.__qualname__}"


@runtime_checkable
class Purifying(Protocol):
    """A defense that is nothing but a purifier of images, so that a training set can be passed through it too."""

    def purifier(self) -> Purifier: ...


@runtime_checkable
class Redrawing(Protocol):
    """A random purifier whose draws share work: ``seen`` gives the images purified by any draw."""

    def seen(self, images: Images, index: Tensor) -> Callable[[Draw], Images]: ...


def cosine(vectors: Embeddings, others: Embeddings) -> Scores:
    """Cosine (N,) of unit vectors (N, D)."""
    return (vectors * others).sum(dim=1)


@dataclass(frozen=True)
class CosineVerifier:
    """Cosine of a recognizer's embeddings."""

    identity = "verifier.cosine"
    version = 1

    recognizer: Recognizer

    one_sided = False
    random = False

    @property
    def differentiable(self) -> bool:
        return self.recognizer.differentiable

    def embed_probe(self, images: Images) -> Embeddings:
        return self.recognizer.embed(images)

    embed_reference = embed_probe

    def enroll(self, reference: Images, index: Tensor, draw: Draw) -> Template:
        with torch.no_grad():
            return Template(self.recognizer.embed(reference), index)

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        return cosine(self.recognizer.embed(probe), template.vectors)


@dataclass(frozen=True)
class ComparerVerifier:
    """A comparer's own similarity. Its templates are the reference images themselves."""

    identity = "verifier.comparer"
    version = 1

    comparer: Comparer

    @property
    def differentiable(self) -> bool:
        return self.comparer.differentiable

    @property
    def random(self) -> bool:
        return self.comparer.random

    def enroll(self, reference: Images, index: Tensor, draw: Draw) -> Template:
        return Template(reference, index)

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        return self.comparer.compare(probe, template.vectors)


def lifted(recognizer: Recognizer | Comparer) -> Verifier:
    """A recognizer as a verifier: by the cosine of its embeddings, or by its own similarity where it shows no other."""
    return ComparerVerifier(recognizer) if compares(recognizer) else CosineVerifier(recognizer)


class Wrapping:
    """Mixin of verifiers around another ``verifier``: as that one, but for what they say themselves."""

    verifier: Verifier

    @property
    def differentiable(self) -> bool:
        return self.verifier.differentiable

    @property
    def random(self) -> bool:
        return self.verifier.random

    def enroll(self, reference: Images, index: Tensor, draw: Draw) -> Template:
        return self.verifier.enroll(reference, index, draw)


@dataclass(frozen=True)
class Purified:
    """A verifier behind a purifier of the probe, or of both sides."""

    identity = "verifier.purified"
    version = 1

    verifier: Verifier
    purifier: Purifier
    sides: Sides = "both"

    @property
    def differentiable(self) -> bool:
        return self.verifier.differentiable and self.purifier.differentiable

    @property
    def random(self) -> bool:
        return self.verifier.random or self.purifier.random

    def enroll(self, reference: Images, index: Tensor, draw: Draw) -> Template:
        if self.sides == "both":
            with torch.no_grad():
                reference = purify(self.purifier, reference, index, draw.of_reference())
        return self.verifier.enroll(reference, index, draw)

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        return self.verifier.score(purify(self.purifier, probe, template.index, draw), template, draw)

    def scorer(self, probe: Images, index: Tensor) -> Callable[[Template, Draw], Scores]:
        """``score`` of the same probes by any draw; what does not depend on the draw is done once."""
        if not isinstance(self.purifier, Redrawing):
            return lambda template, draw: self.score(probe, template, draw)
        redrawn = self.purifier.seen(probe, index)
        return lambda template, draw: self.verifier.score(redrawn(draw), template, draw)


@dataclass(frozen=True)
class PurifiedEmbedder(Purified):
    """A purified verifier that is still one vector per image."""

    identity = "verifier.purified_embedder"
    version = 1

    @property
    def one_sided(self) -> bool:
        return self.sides == "probe"

    def embed_probe(self, images: Images) -> Embeddings:
        index = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        assert isinstance(self.verifier, Embedder)
        return self.verifier.embed_probe(purify(self.purifier, images, index, Draw()))

    def embed_reference(self, images: Images) -> Embeddings:
        assert isinstance(self.verifier, Embedder)
        return self.verifier.embed_reference(images) if self.one_sided else self.embed_probe(images)


def purified(verifier: Verifier, purifier: Purifier, sides: Sides) -> Purified:
    """``verifier`` behind ``purifier``, one vector per image where nothing is random."""
    vectors = isinstance(verifier, Embedder) and not purifier.random
    return (PurifiedEmbedder if vectors else Purified)(verifier, purifier, sides)


@dataclass(frozen=True)
class Averaged(Wrapping):
    """Expectation over transformation: the mean score over ``draws`` draws, references enrolled once a draw."""

    identity = "verifier.averaged"
    version = 1

    verifier: Verifier
    draws: int

    def enroll(self, reference: Images, index: Tensor, draw: Draw) -> Template:
        each = [self.verifier.enroll(reference, index, draw._replace(k=k)).vectors for k in range(self.draws)]
        return Template(torch.stack(each, dim=1), index)

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        look = self.verifier
        score = look.scorer(probe, template.index) if isinstance(look, Purified) else partial(look.score, probe)
        each = [score(Template(template.vectors[:, k], template.index), draw._replace(k=k)) for k in range(self.draws)]
        return torch.stack(each).mean(dim=0)
