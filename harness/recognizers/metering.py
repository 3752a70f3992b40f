"""Counts of forward and backward passes, taken at the recognizer so that no attack can under-report them, and times."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Generic, TypeVar

from torch import Tensor

from frbench.harness.core.contracts import Embeddings, Images, Recognizer, Scores
from frbench.harness.core.part_contracts import check_embeddings, check_scores
from frbench.harness.core.verifiers import Comparer, compares

Inner = TypeVar("Inner", Recognizer, Comparer)


@dataclass
class Meter:
    """Images of all forward and backward passes, and the duration of decisions.

    Attributes:
        forwards: images that went forward.
        backwards: images that went backward.
        decisions: seconds for one decision of the defended recognizer, of each batch that was judged.
    """

    forwards: int = 0
    backwards: int = 0
    decisions: list[float] = field(default_factory=list)

    def reset(self) -> None:
        self.forwards = self.backwards = 0
        self.decisions.clear()

    @contextmanager
    def deciding(self, count: int) -> Iterator[None]:
        """Time ``count`` decisions, all that happens within."""
        started = time.perf_counter()
        yield
        self.decisions.append((time.perf_counter() - started) / count)

    @property
    def ms_per_image(self) -> float | None:
        """Milliseconds for one decision: the median over batches; None if nothing was judged."""
        return round(1000 * median(self.decisions), 4) if self.decisions else None


@dataclass(frozen=True)
class _Counting(Generic[Inner]):
    """A recognizer or comparer whose images are counted. In fingerprints it is the one inside."""

    recognizer: Inner
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
    def stands_for(self) -> Inner:
        return self.recognizer


class Metered(_Counting[Recognizer]):
    """A recognizer whose forward and backward passes are counted."""

    def embed(self, images: Images) -> Embeddings:
        """Embeddings float32 (N, D) of images (N, 3, H, W), checked and counted."""
        count, first = len(images), not self.meter.forwards
        self.meter.forwards += count
        embeddings = self.recognizer.embed(images)
        check_embeddings(self.recognizer, embeddings, images, lengths=first)
        if embeddings.requires_grad:
            embeddings.register_hook(lambda gradient: self._count_backward(gradient, count))
        return embeddings

    def _count_backward(self, gradient: Tensor, count: int) -> None:
        self.meter.backwards += count


class MeteredComparer(_Counting[Comparer]):
    """A comparer whose comparisons are counted, each as one forward pass."""

    @property
    def random(self) -> bool:
        return self.recognizer.random

    def compare(self, probe: Images, reference: Images) -> Scores:
        """Scores float32 (N,) of N pairs, checked and counted."""
        self.meter.forwards += len(probe)
        scores = self.recognizer.compare(probe, reference)
        check_scores(self.recognizer, scores, len(probe), "recognizer")
        return scores


def metered(recognizer: Recognizer | Comparer, meter: Meter) -> Metered | MeteredComparer:
    """``recognizer`` with its passes counted in ``meter``."""
    return MeteredComparer(recognizer, meter) if compares(recognizer) else Metered(recognizer, meter)
