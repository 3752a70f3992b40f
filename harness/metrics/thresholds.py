"""Decision thresholds of a verification system: of best accuracy, and at a false accept rate. Pure NumPy in float64.

A pair is accepted as genuine if its score is greater than the threshold. Common arguments are ``scores`` (N,), the
similarity of each pair; ``same`` bool (N,), true for genuine pairs; and ``fold`` int (N,), the cross-validation fold of
each pair. The threshold of a fold is always set on the other folds. A threshold that the data cannot resolve is
returned as ``Unresolved`` with its reason, never as a number.

The method: docs/methods/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frbench.harness.core.errors import ConfigError, FrbenchError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

GRID = np.arange(-1001, 1001) / 1000  # candidate thresholds: from all cosines accepted to none


@dataclass(frozen=True)
class Unresolved:
    """The reason why the data cannot give a metric."""

    reason: str


@dataclass(frozen=True)
class OperatingPoint:
    """Thresholds at a target false accept rate (FAR), with the FAR that they realise.

    Attributes:
        thresholds: float64 (N,), the threshold of each pair, set on the other folds.
        far_set: mean over folds of the FAR on the impostor pairs that the threshold was set on; at most the target in
            every fold.
        false_accepts: number of accepted impostor pairs in the held-out folds.
        impostors: number of impostor pairs in the held-out folds.
    """

    thresholds: Floats
    far_set: float
    false_accepts: int
    impostors: int

    @property
    def far(self) -> float:
        """Realised FAR, pooled over held-out folds; it may exceed the target by chance."""
        return self.false_accepts / self.impostors if self.impostors else float("nan")


def checked(scores: ArrayLike, same: ArrayLike) -> tuple[Floats, Bools]:
    """``scores`` and ``same`` as arrays (N,). Raises FrbenchError if shapes differ or a score is not finite."""
    values, labels = np.asarray(scores, np.float64), np.asarray(same, bool)
    if values.ndim != 1 or values.shape != labels.shape:
        raise FrbenchError(f"scores {values.shape} and same {labels.shape} must both be (N,)")
    if bad := int(np.count_nonzero(~np.isfinite(values))):
        raise FrbenchError(f"{bad} of {len(values)} scores are not finite; check the recognizer and the defense")
    return values, labels


def require_both_kinds(same: Bools) -> None:
    """Raises FrbenchError if there is no genuine or no impostor pair."""
    if not same.any() or same.all():
        raise FrbenchError(f"expected genuine and impostor pairs, got {int(same.sum())} and {int((~same).sum())}")


def best_threshold(scores: ArrayLike, same: ArrayLike) -> float:
    """Threshold of highest accuracy on a grid of 0.001 over cosines, as in the LFW protocol.

    Among the best thresholds it is the middle of the first contiguous run, so that for well separated scores it lies in
    the gap and not at its edge.

    Args:
        scores: float (N,), cosines.
        same: bool (N,).

    Returns:
        A threshold in [-1.001, 1].

    Raises:
        FrbenchError: shapes differ, a score is not finite, or a kind of pair is missing.

    >>> best_threshold([0.9, 0.7, 0.3, 0.1], [True, True, False, False])
    0.499
    """
    values, labels = checked(scores, same)
    require_both_kinds(labels)
    genuine, impostors = np.sort(values[labels]), np.sort(values[~labels])
    right = np.searchsorted(impostors, GRID, side="right") - np.searchsorted(genuine, GRID, side="right")
    best = np.flatnonzero(right == right.max())
    run = best[: int(np.argmax(np.append(np.diff(best) > 1, True))) + 1]
    return float(GRID[run[(len(run) - 1) // 2]])


def _by_fold(scores: Floats, same: Bools, fold: ArrayLike, choose: Callable[[Floats, Bools], float]) -> Floats:
    """For each pair ``choose(scores, same)`` of the pairs outside its fold: float64 (N,)."""
    folds = np.asarray(fold)
    numbers = np.unique(folds)
    if folds.shape != scores.shape or len(numbers) < 2:
        raise FrbenchError(f"fold must be {scores.shape} with at least 2 folds, got {folds.shape} with {len(numbers)}")
    thresholds = np.empty(len(scores))
    for number in numbers:
        inside = folds == number
        thresholds[inside] = choose(scores[~inside], same[~inside])
    return thresholds


def fold_thresholds(scores: ArrayLike, same: ArrayLike, fold: ArrayLike) -> Floats:
    """Cross-validated best-accuracy thresholds: for each pair ``best_threshold`` of the other folds.

    Args:
        scores: float (N,), cosines.
        same: bool (N,).
        fold: int (N,), at least two folds.

    Returns:
        float64 (N,).

    Raises:
        FrbenchError: as ``best_threshold``, or fewer than two folds.

    >>> fold_thresholds([0.9, 0.1, 0.7, 0.3], [True, False, True, False], [0, 0, 1, 1]).tolist()
    [0.499, 0.499, 0.499, 0.499]
    """
    values, labels = checked(scores, same)
    return _by_fold(values, labels, fold, best_threshold)


def far_threshold(impostor_scores: ArrayLike, far: float) -> float | Unresolved:
    """Lowest threshold whose false accept rate is at most ``far``.

    With k the largest count for which k / N <= far, the threshold is the (k+1)-th largest score, without interpolation.
    The TAR at it equals the highest one of scikit-learn's ``roc_curve`` at a false positive rate of at most ``far``.

    Args:
        impostor_scores: float (N,).
        far: target false accept rate in (0, 1).

    Returns:
        The threshold; ``Unresolved`` if ``far`` is below 1 / N, where the threshold would be the highest impostor score
        for every ``far``.

    Raises:
        ConfigError: ``far`` is out of range.
        FrbenchError: a score is not finite.

    >>> far_threshold([0.1, 0.2, 0.3, 0.4], far=0.25)
    0.3
    >>> far_threshold([0.1, 0.2, 0.3, 0.4], far=0.1)
    Unresolved(reason='FAR 0.1 is below 1/4, the resolution of 4 impostor pairs')
    """
    values = np.asarray(impostor_scores, np.float64)
    checked(values, np.zeros(len(values)))
    if not 0 < far < 1:
        raise ConfigError(f"far must be between 0 and 1, got {far}")
    if not len(values):
        return Unresolved(f"there are no impostor pairs to set FAR {far:g}")
    rates = np.arange(len(values)) / len(values)  # compared as floats: 0.29 * 100 falls short of 29
    allowed = int(np.searchsorted(rates, far, side="right")) - 1
    if allowed < 1:
        return Unresolved(f"FAR {far:g} is below 1/{len(values)}, the resolution of {len(values)} impostor pairs")
    return float(np.sort(values)[::-1][allowed])


def fold_far_thresholds(scores: ArrayLike, same: ArrayLike, fold: ArrayLike, far: float) -> OperatingPoint | Unresolved:
    """Cross-validated FAR thresholds: for each pair ``far_threshold`` of the impostor pairs in the other folds.

    Args:
        scores: float (N,).
        same: bool (N,).
        fold: int (N,), at least two folds.
        far: target false accept rate in (0, 1).

    Returns:
        The thresholds with the FAR that they realise; ``Unresolved`` if a fold cannot set its threshold.

    Raises:
        FrbenchError: as ``far_threshold``, or fewer than two folds.

    >>> point = fold_far_thresholds([0.1, 0.2, 0.3, 0.15, 0.25, 0.35], [False] * 6, [0, 0, 0, 1, 1, 1], far=0.4)
    >>> point.thresholds.tolist(), point.false_accepts
    ([0.25, 0.25, 0.25, 0.2, 0.2, 0.2], 3)
    """
    values, labels = checked(scores, same)
    unresolved: list[Unresolved] = []
    realised: list[float] = []

    def choose(others: Floats, genuine: Bools) -> float:
        impostors = others[~genuine]
        threshold = far_threshold(impostors, far)
        if isinstance(threshold, Unresolved):
            unresolved.append(threshold)
            return float("nan")
        realised.append(float((impostors > threshold).mean()))
        return threshold

    thresholds = _by_fold(values, labels, fold, choose)
    if unresolved:
        return unresolved[0]
    accepted = (values > thresholds)[~labels]
    return OperatingPoint(thresholds, float(np.mean(realised)), int(accepted.sum()), len(accepted))
