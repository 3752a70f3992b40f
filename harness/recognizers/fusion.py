"""Fusion of several recognizers: the mean of their embeddings, their concatenation, or the minimum of their cosines.

The first two give one embedding per image and are a recognizer; the third is a verifier alone. The method:
docs/methods/ensembles.md, "Fusion".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch

from frbench.harness.core.contracts import Draw, Embeddings, Images, Recognizer, Scores, Template, Verifier
from frbench.harness.core.verifiers import CosineVerifier, cosine
from frbench.harness.recognizers.preprocessing import unit_length

Fusion = Literal["mean", "concat", "min"]


def mean(vectors: Sequence[Embeddings]) -> Embeddings:
    """The direction of the sum of K unit vectors (N, D): meaningful where the members were trained to agree on it."""
    return unit_length(torch.stack(list(vectors)).sum(dim=0))


def side_by_side(vectors: Sequence[Embeddings]) -> Embeddings:
    """K unit vectors (N, D_k) as one (N, sum of D_k) of unit length, whose cosine is the mean of theirs."""
    return torch.cat(list(vectors), dim=1) / len(vectors) ** 0.5


_ONE_VECTOR: Mapping[Fusion, Callable[[Sequence[Embeddings]], Embeddings]] = MappingProxyType(
    {"mean": mean, "concat": side_by_side}
)


@dataclass(frozen=True)
class FusedRecognizer:
    """``members``, at least one, whose unit vectors become one. ``digest``: SHA-256 of theirs."""

    identity = "recognizer.fused"
    version = 1

    members: tuple[Recognizer, ...]
    fusion: Literal["mean", "concat"]

    @property
    def name(self) -> str:
        return f"{self.fusion}({'+'.join(member.name for member in self.members)})"

    @property
    def differentiable(self) -> bool:
        return all(member.differentiable for member in self.members)

    @property
    def digest(self) -> str:
        return hashlib.sha256("".join(member.digest for member in self.members).encode()).hexdigest()

    def embed(self, images: Images) -> Embeddings:
        """Images float32 (N, 3, H, W), RGB in [0, 1] -> unit-length embeddings float32 (N, D)."""
        return _ONE_VECTOR[self.fusion]([member.embed(images) for member in self.members])


@dataclass(frozen=True)
class LeastCosine:
    """A pair is as alike as the member thinks that finds it least alike: accepted by all or refused.

    A template holds the members' vectors side by side (N, sum of D_k), for they may differ in width. Where several
    members are the least, each has its share of the gradient.
    """

    identity = "recognizer.least_cosine"
    version = 1

    members: tuple[Recognizer, ...]

    random = False

    @property
    def differentiable(self) -> bool:
        return all(member.differentiable for member in self.members)

    def enroll(self, reference: Images, index: torch.Tensor, draw: Draw) -> Template:
        with torch.no_grad():
            return Template(torch.cat([member.embed(reference) for member in self.members], dim=1), index)

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        vectors = [member.embed(probe) for member in self.members]
        others = template.vectors.split([each.shape[1] for each in vectors], dim=1)
        return torch.stack([cosine(*pair) for pair in zip(vectors, others, strict=True)]).amin(dim=0)


def fused(members: Sequence[Recognizer], fusion: Fusion) -> Verifier:
    """``members`` as one verifier, which accepts what their ``fusion`` accepts. It is differentiable where they are."""
    if fusion == "min":
        return LeastCosine(tuple(members))
    return CosineVerifier(FusedRecognizer(tuple(members), fusion))
