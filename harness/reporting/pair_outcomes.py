"""What each pair of a cell came to, read from the table of per-pair scores that lies beside its record. Pure.

Counted are the pairs that the victim decided correctly, behind the defense, before the attack. Sizes stand in that
table for every image; of a failure, here, they are infinite.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frbench.harness.metrics.confidence import PairedDifference, paired_difference
from frbench.harness.storage.records import Record

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
    """What came of each pair, read once a cell. ``scores``: from a fingerprint to its per-pair table, if kept."""

    def __init__(self, scores: Scores) -> None:
        def success(fingerprint: str) -> pd.Series | None:
            frame = scores(fingerprint)
            return None if frame is None else counted(frame).set_index("index")["success"].astype(bool)

        def cost(fingerprint: str) -> pd.Series | None:
            frame = scores(fingerprint)
            if frame is None or "l2" not in frame:
                return None
            return pd.Series(sizes(frame, "l2"), index=counted(frame)["index"].to_numpy())

        self._success, self._cost = lru_cache(_KEPT)(success), lru_cache(_KEPT)(cost)

    def difference(self, one: Record, other: Record) -> PairedDifference | None:
        """Success rate of ``one`` minus that of ``other`` over the pairs counted in both; None where there are none."""
        shared = _shared(self._success(one["fingerprint"]), self._success(other["fingerprint"]))
        return paired_difference(*shared) if shared else None

    def sizes(self, one: Record, other: Record) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """L2 of the changes of both, pair by pair, over the pairs counted in both; None where there are none."""
        return _shared(self._cost(one["fingerprint"]), self._cost(other["fingerprint"]))


def _shared(a: pd.Series | None, b: pd.Series | None) -> tuple[NDArray[Any], NDArray[Any]] | None:
    if a is None or b is None:
        return None
    common = np.intersect1d(a.index, b.index)
    return (a[common].to_numpy(), b[common].to_numpy()) if len(common) else None
