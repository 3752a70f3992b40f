"""Verification metrics: K-fold accuracy, TAR at FAR, EER and AUC. Pure NumPy in float64.

Common arguments are ``scores`` (N,), the similarity of each pair; ``same`` bool (N,), true for genuine pairs; and
``fold`` int (N,), the cross-validation fold of each pair. The threshold of a fold is always set on the other folds.
Confidence intervals are in ``confidence``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frbench.harness.metrics.thresholds import (
    Bools,
    Floats,
    OperatingPoint,
    Unresolved,
    checked,
    fold_far_thresholds,
    fold_thresholds,
    require_both_kinds,
)


@dataclass(frozen=True)
class KFold:
    """K-fold verification accuracy.

    Attributes:
        accuracy: mean over folds, in [0, 1].
        std_over_folds: population standard deviation over folds.
        per_fold: float64 (folds,), accuracy of each fold.
        thresholds: float64 (N,), the threshold of each pair.
        correct: bool (N,), whether each pair is decided correctly.
    """

    accuracy: float
    std_over_folds: float
    per_fold: Floats
    thresholds: Floats
    correct: Bools


@dataclass(frozen=True)
class Tar:
    """True accept rate (TAR) at an operating point.

    Attributes:
        tar: mean over folds of the TAR in the fold.
        accepted: number of accepted genuine pairs over all folds.
        total: number of genuine pairs over all folds.
        point: the thresholds and the FAR that they realise.
    """

    tar: float
    accepted: int
    total: int
    point: OperatingPoint

    @property
    def pooled(self) -> float:
        """TAR over the genuine pairs of all folds together."""
        return self.accepted / self.total


def _cuts(scores: Floats, same: Bools) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """All thresholds that give different decisions: (thresholds ascending, accepted genuine, accepted impostors).

    Thresholds are midpoints of neighbouring distinct scores; the first is one below the smallest score and accepts all
    pairs, the last is one above the largest and accepts none.
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


def kfold_accuracy(scores: ArrayLike, same: ArrayLike, fold: ArrayLike) -> KFold:
    """K-fold verification accuracy: each fold at the best-accuracy threshold of the other folds (LFW protocol).

    Args:
        scores: float (N,), cosines.
        same: bool (N,).
        fold: int (N,), at least two folds.

    Returns:
        Accuracy over folds, thresholds and decisions.

    Raises:
        FrbenchError: as ``fold_thresholds``.

    >>> kfold_accuracy([0.9, 0.1, 0.7, 0.6], [True, False, True, False], [0, 0, 1, 1]).per_fold.tolist()
    [1.0, 0.5]
    """
    values, labels = checked(scores, same)
    thresholds = fold_thresholds(values, labels, fold)
    correct = (values > thresholds) == labels
    folds = np.asarray(fold)
    per_fold = np.array([correct[folds == number].mean() for number in np.unique(folds)])
    return KFold(float(per_fold.mean()), float(per_fold.std()), per_fold, thresholds, correct)


def tar_at_far(scores: ArrayLike, same: ArrayLike, fold: ArrayLike, far: float) -> Tar | Unresolved:
    """True accept rate at a target false accept rate, cross-validated over folds.

    Args:
        scores: float (N,).
        same: bool (N,).
        fold: int (N,), at least two folds.
        far: target false accept rate in (0, 1).

    Returns:
        Mean TAR over the folds that have genuine pairs, with counts; ``Unresolved`` if the data cannot set ``far``.

    Raises:
        FrbenchError: as ``fold_far_thresholds``, or a kind of pair is missing.

    >>> scores, same = [0.9, 0.2, 0.1, 0.3, 0.7, 0.1, 0.2, 0.4], [True, False, False, True] * 2
    >>> tar_at_far(scores, same, [0, 0, 0, 0, 1, 1, 1, 1], far=0.5).tar
    1.0
    """
    values, labels = checked(scores, same)
    require_both_kinds(labels)
    point = fold_far_thresholds(values, labels, fold, far)
    if isinstance(point, Unresolved):
        return point
    accepted, folds = values > point.thresholds, np.asarray(fold)
    rates = [accepted[labels & (folds == number)].mean() for number in np.unique(folds[labels])]
    genuine = accepted[labels]
    return Tar(float(np.mean(rates)), int(genuine.sum()), len(genuine), point)


def roc(scores: ArrayLike, same: ArrayLike) -> tuple[Floats, Floats]:
    """FAR and TAR (each float64 (T,), in [0, 1]) at every threshold, from none accepted to all.

    >>> far, tar = roc([0.9, 0.4, 0.5, 0.1], [True, True, False, False])
    >>> far.tolist(), tar.tolist()
    ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0])
    """
    values, labels = checked(scores, same)
    require_both_kinds(labels)
    _, genuine, impostors = _cuts(values, labels)
    return impostors[::-1] / (~labels).sum(), genuine[::-1] / labels.sum()


def auc(scores: ArrayLike, same: ArrayLike) -> float:
    """Area under the ROC curve: P(genuine > impostor) + P(equal) / 2, in [0, 1].

    >>> auc([0.9, 0.4, 0.5, 0.1], [True, True, False, False])
    0.75
    """
    far, tar = roc(scores, same)
    return float(np.sum(np.diff(far) * (tar[1:] + tar[:-1])) / 2)


def eer(scores: ArrayLike, same: ArrayLike) -> float:
    """Equal error rate: FAR = 1 - TAR on the ROC curve, linear between its points; in [0, 1].

    >>> eer([0.9, 0.4, 0.5, 0.1], [True, True, False, False])
    0.5
    """
    far, tar = roc(scores, same)
    gap = far - (1 - tar)  # rises from -1 (none accepted) to 1 (all)
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(far[after - 1] + share * (far[after] - far[after - 1]))
