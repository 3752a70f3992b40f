"""Verification numbers: thresholds, accuracy, error rates, security curves. Pure NumPy in float64.

A pair is accepted as genuine when its score is greater than the threshold. Every function takes
``scores`` (N,), ``same`` bool (N,) and, where folds matter, ``fold`` int (N,). The threshold of a fold is always
chosen on the other folds. What the data cannot resolve comes back as ``Unresolved`` with its reason, never as a
number. Uncertainty (Wilson, bootstrap, paired differences) is in ``intervals``.
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
    """A number that the data cannot give, and why."""

    reason: str


@dataclass(frozen=True)
class KFold:
    """accuracy: mean over folds; std_over_folds: population standard deviation; correct: bool (N,)."""

    accuracy: float
    std_over_folds: float
    per_fold: Floats
    thresholds: Floats
    correct: Bools


@dataclass(frozen=True)
class OperatingPoint:
    """Thresholds set at a false accept rate (FAR) on the other folds, with the rates that they realise.

    thresholds: float64 (N,), one a pair. far_set: FAR on the impostors of the other folds, on which the thresholds were
    set, mean over folds; it is at most the target in every fold. false_accepts, impostors: counts over the folds that
    the thresholds were not set on.
    """

    thresholds: Floats
    far_set: float
    false_accepts: int
    impostors: int

    @property
    def far(self) -> float:
        """The realised FAR on held-out folds, pooled; it may exceed the target by chance."""
        return self.false_accepts / self.impostors if self.impostors else float("nan")


@dataclass(frozen=True)
class Tar:
    """True accept rate at a false accept rate set on the other folds.

    tar: mean over folds of (accepted genuine / genuine in the fold); pooled: accepted / total over all folds.
    """

    tar: float
    accepted: int
    total: int
    point: OperatingPoint

    @property
    def pooled(self) -> float:
        return self.accepted / self.total


def _checked(scores: ArrayLike, same: ArrayLike) -> tuple[Floats, Bools]:
    values, labels = np.asarray(scores, np.float64), np.asarray(same, bool)
    if values.ndim != 1 or values.shape != labels.shape:
        raise FrbenchError(f"scores {values.shape} and same {labels.shape} must both be (N,)")
    if bad := int(np.count_nonzero(~np.isfinite(values))):
        raise FrbenchError(f"{bad} of {len(values)} scores are not finite; look at the recognizer or the defense")
    return values, labels


def _needs_both(same: Bools) -> None:
    if not same.any() or same.all():
        raise FrbenchError(f"{int(same.sum())} genuine and {int((~same).sum())} impostor pairs: both kinds are needed")


def _cuts(scores: Floats, same: Bools) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Every way to cut the scores in two: (cuts, genuine accepted, impostors accepted), cuts rising.

    Cuts lie midway between neighbouring distinct scores; the first (all accepted) and the last (none) lie one below
    the smallest and one above the largest score.
    """
    order = np.argsort(scores, kind="stable")
    ranked, genuine = scores[order], same[order]
    new = np.flatnonzero(np.diff(ranked) > 0) + 1
    middles = ranked[new - 1] + (ranked[new] - ranked[new - 1]) / 2
    cuts = np.concatenate([ranked[:1] - 1, middles, ranked[-1:] + 1])
    rejected = np.concatenate([[0], new, [len(scores)]])
    rejected_genuine = np.concatenate([[0], np.cumsum(genuine)])[rejected]
    accepted_genuine = genuine.sum() - rejected_genuine
    return cuts, accepted_genuine, (len(scores) - rejected) - accepted_genuine


def best_threshold(scores: ArrayLike, same: ArrayLike) -> float:
    """The threshold of highest accuracy on a grid of 0.001 over the cosines; the middle of the first run of the best.

    A grid is the custom of the field and steadier from fold to fold than a cut between any two scores; the middle of
    a run puts the threshold of well parted scores into the gap and not at its edge.
    """
    values, labels = _checked(scores, same)
    _needs_both(labels)
    genuine, impostors = np.sort(values[labels]), np.sort(values[~labels])
    right = np.searchsorted(impostors, GRID, side="right") - np.searchsorted(genuine, GRID, side="right")
    best = np.flatnonzero(right == right.max())
    run = best[: int(np.argmax(np.append(np.diff(best) > 1, True))) + 1]
    return float(GRID[run[(len(run) - 1) // 2]])


def _by_fold(scores: Floats, same: Bools, fold: ArrayLike, choose: Callable[[Floats, Bools], float]) -> Floats:
    """``choose(scores, same)`` of all pairs outside the fold, for every pair: float64 (N,)."""
    folds = np.asarray(fold)
    numbers = np.unique(folds)
    if folds.shape != scores.shape or len(numbers) < 2:
        raise FrbenchError(f"fold {folds.shape} names {len(numbers)} folds; two or more over (N,) pairs are needed")
    thresholds = np.empty(len(scores))
    for number in numbers:
        inside = folds == number
        thresholds[inside] = choose(scores[~inside], same[~inside])
    return thresholds


def fold_thresholds(scores: ArrayLike, same: ArrayLike, fold: ArrayLike) -> Floats:
    """For each pair the best-accuracy threshold of all pairs in other folds, float64 (N,)."""
    values, labels = _checked(scores, same)
    return _by_fold(values, labels, fold, best_threshold)


def kfold_accuracy(scores: ArrayLike, same: ArrayLike, fold: ArrayLike) -> KFold:
    """Accuracy of each fold at the threshold of the other folds, averaged over folds."""
    values, labels = _checked(scores, same)
    thresholds = fold_thresholds(values, labels, fold)
    correct = (values > thresholds) == labels
    folds = np.asarray(fold)
    per_fold = np.array([correct[folds == number].mean() for number in np.unique(folds)])
    return KFold(float(per_fold.mean()), float(per_fold.std()), per_fold, thresholds, correct)


def far_threshold(impostor_scores: ArrayLike, far: float) -> float | Unresolved:
    """The lowest threshold that accepts at most a share ``far`` of the impostor scores (N,), ties counted.

    A score is accepted when it is greater than the threshold. With k the largest count for which k / N <= far, the
    threshold is the (k+1)-th largest score: at most k scores are greater, and below it at least k + 1 are. Nothing is
    interpolated. The true accept rate is then the highest of scikit-learn's ``roc_curve`` at a false positive rate of
    at most ``far``. Where k is 0 (far < 1 / N) the threshold would be the highest impostor score whatever ``far`` is,
    and the rate would hang on that one pair: ``Unresolved``.
    """
    values = np.asarray(impostor_scores, np.float64)
    _checked(values, np.zeros(len(values)))
    if not 0 < far < 1:
        raise ConfigError(f"far={far} must lie between 0 and 1")
    if not len(values):
        return Unresolved(f"there is no impostor pair to set FAR {far:g} on")
    rates = np.arange(len(values)) / len(values)  # compared as floats: 0.29 * 100 falls short of 29
    allowed = int(np.searchsorted(rates, far, side="right")) - 1
    if allowed < 1:
        return Unresolved(f"FAR {far:g} is below 1/{len(values)}, one impostor pair of those it would be set on")
    return float(np.sort(values)[::-1][allowed])


def fold_far_thresholds(scores: ArrayLike, same: ArrayLike, fold: ArrayLike, far: float) -> OperatingPoint | Unresolved:
    """For each pair the FAR threshold of the impostors in other folds; see ``far_threshold``."""
    values, labels = _checked(scores, same)
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


def tar_at_far(scores: ArrayLike, same: ArrayLike, fold: ArrayLike, far: float) -> Tar | Unresolved:
    """True accept rate of each fold at the FAR threshold of the other folds; folds without genuine pairs skip."""
    values, labels = _checked(scores, same)
    _needs_both(labels)
    point = fold_far_thresholds(values, labels, fold, far)
    if isinstance(point, Unresolved):
        return point
    accepted, folds = values > point.thresholds, np.asarray(fold)
    rates = [accepted[labels & (folds == number)].mean() for number in np.unique(folds[labels])]
    genuine = accepted[labels]
    return Tar(float(np.mean(rates)), int(genuine.sum()), len(genuine), point)


def _roc(scores: ArrayLike, same: ArrayLike) -> tuple[Floats, Floats]:
    """False and true accept rates at every cut, from nothing accepted to all."""
    values, labels = _checked(scores, same)
    _needs_both(labels)
    _, genuine, impostors = _cuts(values, labels)
    return impostors[::-1] / (~labels).sum(), genuine[::-1] / labels.sum()


def auc(scores: ArrayLike, same: ArrayLike) -> float:
    """Area under the ROC curve: P(genuine > impostor) + P(equal) / 2."""
    far, tar = _roc(scores, same)
    return float(np.sum(np.diff(far) * (tar[1:] + tar[:-1])) / 2)


def eer(scores: ArrayLike, same: ArrayLike) -> float:
    """Equal error rate: where false accepts equal false rejects on the ROC, linear between its points."""
    far, tar = _roc(scores, same)
    gap = far - (1 - tar)  # rises from -1 (nothing accepted) to 1 (all)
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(far[after - 1] + share * (far[after] - far[after - 1]))


def security_curve(sizes: ArrayLike, grid: ArrayLike) -> Floats:
    """Share of attacks whose size is at most each value of ``grid``; a failure has size infinity and counts."""
    ranked = np.sort(np.asarray(sizes, np.float64))
    points = np.asarray(grid, np.float64)
    if not len(ranked):
        return np.full(points.shape, np.nan)
    return np.searchsorted(ranked, points, side="right") / len(ranked)


def median_size(sizes: ArrayLike) -> float:
    """Median over all attacks, failures as infinity: infinite where half or more failed; NaN of none."""
    values = np.asarray(sizes, np.float64)
    return float(np.median(values)) if len(values) else float("nan")
