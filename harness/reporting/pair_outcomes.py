"""Success and perturbation size of each attacked pair, from the per-pair scores of a record. Pure.

A pair counts as attacked if the defended model decides it correctly without an attack. The scores table has the
perturbation size of every image; here the size of a failed attack is infinite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frbench.harness.metrics.confidence import PairedDifference, difference_of_counts, paired_difference
from frbench.harness.storage.pair_index import Decisions, decisions_of
from frbench.harness.storage.records import Record

Scores = Callable[[str], pd.DataFrame | None]
_CACHED = 4096  # records with outcomes in memory; 3,000 pairs take 27 kB


class CellFiles(Protocol):
    """The files of a cell beside its record, by its fingerprint; None if there are none."""

    def scores(self, fingerprint: str) -> pd.DataFrame | None:
        """Scores, a row per pair."""
        ...

    def sample_images(self, fingerprint: str) -> Mapping[str, np.ndarray] | None:
        """Sample images."""
        ...


def attacked(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the attacked pairs."""
    return frame[frame["correct"].astype(bool) & frame["adversarial_score"].notna()]


def sizes(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """The size or other cost in ``column`` of each attacked pair (N,); infinite if the attack failed."""
    rows = attacked(frame)
    return np.where(rows["success"].astype(bool), rows[column].astype(float), np.inf)


class Outcomes:
    """Comparisons of two records pair by pair; the scores of each record are read once.

    Args:
        scores: from a fingerprint to the per-pair scores, or None if there are none.
        decisions: the same for the decisions of a store that knows them without reading the scores.
    """

    def __init__(self, scores: Scores, decisions: Callable[[str], Decisions | None] | None = None) -> None:
        def decided(fingerprint: str) -> Decisions | None:
            frame = scores(fingerprint)
            return None if frame is None else decisions_of(frame)  # type: ignore[arg-type]

        def bits(fingerprint: str) -> _Bits | None:
            found = (decisions or decided)(fingerprint)
            return None if found is None else _bits(found)

        def size(fingerprint: str) -> pd.Series | None:
            frame = scores(fingerprint)
            if frame is None or "l2" not in frame:
                return None
            return pd.Series(sizes(frame, "l2"), index=attacked(frame)["index"].to_numpy())

        self._decided, self._size = lru_cache(_CACHED)(bits), lru_cache(_CACHED)(size)

    def difference(self, a: Record, b: Record) -> PairedDifference | None:
        """ASR of ``a`` minus ASR of ``b`` on the pairs attacked in both; None if there are none."""
        first, second = self._decided(a["fingerprint"]), self._decided(b["fingerprint"])
        if first is None or second is None:
            return None
        if first.pairs is not second.pairs and not np.array_equal(first.pairs, second.pairs):
            common = _common(_success(first), _success(second))
            return paired_difference(*common) if common else None
        common_bits = first.attacked & second.attacked
        total = common_bits.bit_count()
        if not total:
            return None
        in_a, in_b = first.success & common_bits, second.success & common_bits
        both = (in_a & in_b).bit_count()
        only_a, only_b = in_a.bit_count() - both, in_b.bit_count() - both
        return difference_of_counts(both, only_a, only_b, total - both - only_a - only_b)

    def noise(self, record: Record) -> tuple[int, int] | None:
        """Attacked pairs on which random noise of the size of the budget succeeds, and all of them; None if unknown."""
        found = self._decided(record["fingerprint"])
        return None if found is None or found.noise is None else (found.noise.bit_count(), found.attacked.bit_count())

    def sizes(self, a: Record, b: Record) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """L2 perturbation sizes of both, (N,) each, on the pairs attacked in both; None if there are none."""
        return _common(self._size(a["fingerprint"]), self._size(b["fingerprint"]))


class _Bits(NamedTuple):
    """``Decisions`` whose bits are Python integers: those of two cells are compared in less than a microsecond."""

    pairs: NDArray[np.int64]
    attacked: int
    success: int
    noise: int | None


def _bits(found: Decisions) -> _Bits:
    packed = (found.attacked, found.success, found.noise)
    return _Bits(found.pairs, *(None if each is None else int.from_bytes(each.tobytes()) for each in packed))  # type: ignore[arg-type]


def _success(found: _Bits) -> pd.Series:
    """Success of the attacked pairs, by their numbers."""
    count = len(found.pairs)
    packed = (each.to_bytes((count + 7) // 8) for each in (found.attacked, found.success))
    chosen, success = (np.unpackbits(np.frombuffer(each, np.uint8), count=count).astype(bool) for each in packed)
    return pd.Series(success[chosen], index=found.pairs[chosen])


def _common(a: pd.Series | None, b: pd.Series | None) -> tuple[NDArray[Any], NDArray[Any]] | None:
    if a is None or b is None:
        return None
    common = np.intersect1d(a.index, b.index)
    return (a[common].to_numpy(), b[common].to_numpy()) if len(common) else None
