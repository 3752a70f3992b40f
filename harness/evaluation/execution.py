"""The store, seed, batch size and device with which a cell is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from frbench.harness.runtime import activity
from frbench.harness.runtime.progress import over
from frbench.harness.storage.result_store import Arrays, Cached, ResultStore


@dataclass(frozen=True)
class Execution:
    """How one cell is computed.

    Attributes:
        store: keeps what several cells share, such as adversarial images.
        seed: of attacks and of random defenses.
        batch_size: images on the device at a time.
        device: where networks run.
    """

    store: ResultStore
    seed: int
    batch_size: int
    device: torch.device

    def get_or_make(
        self, kind: str, key: str, make: Callable[[], Arrays], usable: Callable[[Arrays], bool] | None = None
    ) -> Cached:
        """As ``get_or_make`` of the store; arrays that are made count as progress of this process."""
        found = self.store.get_or_make(kind, key, make, usable)
        if found.made:
            activity.kept()
        return found

    def batches(self, count: int) -> Iterator[slice]:
        """Consecutive slices of at most ``batch_size`` rows that cover ``count`` rows."""
        return (self._batch(first, count) for first in range(0, count, self.batch_size))

    def batches_with_progress(self, count: int, title: str, unit: str) -> Iterator[slice]:
        """As ``batches``, with a progress bar that counts rows as ``unit``."""
        starts = range(0, count, self.batch_size)
        return (self._batch(first, count) for first in over(starts, title, unit, self.batch_size))

    def _batch(self, first: int, count: int) -> slice:
        return slice(first, min(first + self.batch_size, count))
