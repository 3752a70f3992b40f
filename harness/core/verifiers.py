"""Verifiers: a recognizer with the cosine, a purified verifier, and the average over random draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor

from frbench.harness.core.contracts import Draw, Embeddings, Images, Recognizer, Scores, Template, Verifier
from frbench.harness.core.purifiers import Purifier, ResamplablePurifier, Sides, purify

if TYPE_CHECKING:
    from typing_extensions import TypeIs


@runtime_checkable
class Embedder(Protocol):
    """A verifier whose score is the cosine of one embedding per image, so that each image is embedded once."""

    @property
    def one_sided(self) -> bool:
        """Whether probes and references are embedded differently."""
        ...

    def embed_probe(self, images: Images) -> Embeddings: ...

    def embed_reference(self, images: Images) -> Embeddings: ...


class Comparer(Protocol):
    """A recognizer that compares pairs and gives no embeddings, such as a web service.

    Attributes:
        digest: of what is known of it.
        random: whether repeated comparisons of a pair differ.
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
    """Whether it compares pairs; by its class, since isinstance would evaluate ``digest`` and read weights."""
    return hasattr(type(recognizer), "compare")


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
    """The similarity of a comparer, with the reference images as templates."""

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
    """A recognizer as a verifier, by the cosine of its embeddings or by the similarity of a comparer."""
    return ComparerVerifier(recognizer) if compares(recognizer) else CosineVerifier(recognizer)


class Wrapping:
    """Mixin for verifiers that wrap another ``verifier`` and delegate to it what they do not override."""

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
    """A verifier with a purifier of the probe or of both images."""

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
        if not isinstance(self.purifier, ResamplablePurifier):
            return lambda template, draw: self.score(probe, template, draw)
        resample = self.purifier.purify_once(probe, index)
        return lambda template, draw: self.verifier.score(resample(draw), template, draw)


@dataclass(frozen=True)
class PurifiedEmbedder(Purified):
    """A purified verifier with one embedding per image."""

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
    """``verifier`` with ``purifier``; an ``Embedder`` if neither is random."""
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
