"""What each pair of a cell came to, read from the table of per-pair scores that lies beside its record. Pure.

Counted are the pairs that the victim decided correctly, behind the defense, before the attack. Sizes stand in that
table for every image; of a failure, here, they are infinite.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frbench.harness.intervals import PairedDifference, paired_difference
from frbench.harness.records import Record

Scores = Callable[[str], pd.DataFrame | None]
_KEPT = 4096  # tables of outcomes held in memory; one of 3,000 pairs takes 27 kB


def counted(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the pairs that count."""
    return frame[frame["correct"].astype(bool) & frame["adversarial_score"].notna()]


def sizes(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """A size, or any other cost of success, of each counted pair: infinite where the attack failed."""
    rows = counted(frame)
    return np.where(rows["success"].astype(bool), rows[column].astype(float), np.inf)


class Outcomes:
    """Success by pair, read once for each cell. ``scores``: from a fingerprint to its per-pair table, if kept."""

    def __init__(self, scores: Scores) -> None:
        def read(fingerprint: str) -> pd.Series | None:
            frame = scores(fingerprint)
            return None if frame is None else counted(frame).set_index("index")["success"].astype(bool)

        self._read = lru_cache(_KEPT)(read)

    def __call__(self, record: Record) -> pd.Series | None:
        return self._read(record["fingerprint"])

    def difference(self, one: Record, other: Record) -> PairedDifference | None:
        """Success rate of ``one`` minus that of ``other`` over the pairs counted in both; None where there are none."""
        a, b = self(one), self(other)
        if a is None or b is None:
            return None
        common = np.intersect1d(a.index, b.index)
        return paired_difference(a[common].to_numpy(), b[common].to_numpy()) if len(common) else None
