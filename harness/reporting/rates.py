"""Success rates with their counts and intervals. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from frbench.harness.metrics.confidence import wilson
from frbench.harness.reporting.tables.layout import percent
from frbench.harness.storage.records import Record, measured


@dataclass(frozen=True)
class Rate:
    """A success rate with its 95 % Wilson interval.

    Attributes:
        successes: successful pairs.
        total: attacked pairs, at least one.
    """

    successes: int
    total: int

    @property
    def share(self) -> float:
        """The rate in [0, 1]."""
        return self.successes / self.total

    @property
    def bounds(self) -> tuple[float, float]:
        """The ends of the interval in [0, 1]."""
        return wilson(self.successes, self.total)

    @property
    def detail(self) -> str:
        """The interval in % and the counts: ``[8.1, 41.6] (4/20)``."""
        low, high = self.bounds
        return f"[{percent(low)}, {percent(high)}] ({self.successes}/{self.total})"

    def __str__(self) -> str:
        return f"{percent(self.share)} % {self.detail}"


def rate_of(record: Record) -> Rate | None:
    """The attack success rate of a record; None if no pair was attacked."""
    found = measured(record, "attack")
    if found.get("asr") is None or not found.get("asr_denominator"):
        return None
    total = int(found["asr_denominator"])
    return Rate(int(found.get("asr_successes", round(found["asr"] * total))), total)
