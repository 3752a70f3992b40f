"""Counts of forwards and backwards, in images, taken at the recognizer so that no attack can under-report."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from frbench.harness.core.contracts import Embeddings, Images, Recognizer, Scores
from frbench.harness.core.part_contracts import check_embeddings, check_scores
from frbench.harness.core.verifiers import Comparer, compares


@dataclass
class Meter:
    """Images seen by recognizers, forwards and backwards."""

    forwards: int = 0
    backwards: int = 0

    def reset(self) -> None:
        self.forwards = self.backwards = 0


@dataclass(frozen=True)
class Metered:
    """A recognizer that counts. In fingerprints it is the recognizer inside."""

    recognizer: Recognizer
    meter: Meter = field(compare=False)

    @property
    def name(self) -> str:
        return self.recognizer.name

    @property
    def differentiable(self) -> bool:
        return self.recognizer.differentiable

    @property
    def digest(self) -> str:
        return self.recognizer.digest

    @property
    def stands_for(self) -> Recognizer:
        return self.recognizer

    def embed(self, images: Images) -> Embeddings:
        count, first = len(images), not self.meter.forwards
        self.meter.forwards += count
        embeddings = self.recognizer.embed(images)
        check_embeddings(self.recognizer, embeddings, images, lengths=first)
        if embeddings.requires_grad:
            embeddings.register_hook(lambda gradient: self._back(gradient, count))
        return embeddings

    def _back(self, gradient: Tensor, count: int) -> None:
        self.meter.backwards += count


@dataclass(frozen=True)
class MeteredComparer:
    """A comparer that counts: a comparison is one forward. In fingerprints it is the comparer inside."""

    comparer: Comparer
    meter: Meter = field(compare=False)

    @property
    def name(self) -> str:
        return self.comparer.name

    @property
    def differentiable(self) -> bool:
        return self.comparer.differentiable

    @property
    def random(self) -> bool:
        return self.comparer.random

    @property
    def digest(self) -> str:
        return self.comparer.digest

    @property
    def stands_for(self) -> Comparer:
        return self.comparer

    def compare(self, probe: Images, reference: Images) -> Scores:
        self.meter.forwards += len(probe)
        scores = self.comparer.compare(probe, reference)
        check_scores(self.comparer, scores, len(probe), "recognizer")
        return scores


def metered(recognizer: Recognizer | Comparer, meter: Meter) -> Metered | MeteredComparer:
    """``recognizer``, counting into ``meter``, as what it is."""
    return MeteredComparer(recognizer, meter) if compares(recognizer) else Metered(recognizer, meter)
