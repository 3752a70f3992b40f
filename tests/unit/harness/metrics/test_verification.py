"""Verification metrics against scikit-learn, InsightFace, closed forms and the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve
from support.verification_scores import accuracy_at, pairs_with_ties, verification_scores

from frbench.harness.core.errors import FrbenchError
from frbench.harness.metrics.thresholds import Unresolved, far_threshold, fold_far_thresholds
from frbench.harness.metrics.verification import Tar, auc, eer, kfold_accuracy, tar_at_far


def test_k_fold_accuracy_equals_a_plain_loop_over_the_grid() -> None:
    scores, same, fold = verification_scores(400, folds=5, spread=0.3, seed=2)
    per_fold = []
    for number in range(5):
        inside = fold == number
        marks = [accuracy_at(k / 1000, scores[~inside], same[~inside]) for k in range(-1001, 1001)]
        first = marks.index(max(marks))
        last = next(k for k in range(first, 2002) if k == 2001 or marks[k + 1] < marks[first])
        per_fold.append(accuracy_at(((first + last) // 2 - 1001) / 1000, scores[inside], same[inside]))
    outcome = kfold_accuracy(scores, same, fold)
    assert outcome.per_fold == pytest.approx(per_fold)
    assert outcome.accuracy == pytest.approx(np.mean(per_fold))
    assert outcome.std_over_folds == pytest.approx(np.std(per_fold))
    assert outcome.correct.mean() == pytest.approx(outcome.accuracy)  # folds of equal size


@given(st.permutations(list(range(40))))
@settings(max_examples=25)
def test_accuracy_does_not_depend_on_the_order_of_the_pairs(order: list[int]) -> None:
    scores, same, fold = verification_scores(40, folds=4, spread=0.4)
    first, second = kfold_accuracy(scores, same, fold), kfold_accuracy(scores[order], same[order], fold[order])
    assert first.accuracy == second.accuracy
    assert (first.thresholds[order] == second.thresholds).all()


GRID = np.arange(0, 4, 0.001)


def insightface_cut(impostors: np.ndarray, far: float) -> float:
    """The cut on squared distances of unit vectors by ``calculate_val`` of InsightFace's ``verification.py``.

    Accepted are distances below the cut. The cut is found on a grid of 0.001, of which each point has the FAR of the
    impostors below it; between the points it is linear in FAR (a spline of degree 1). Equal FARs stand side by side on
    the grid, and the spline takes the last of them, as ``np.interp`` does: newer SciPy refuses such a spline. It
    differs from our rule in three things: a cut lies up to one step of the grid beyond the impostor where ours stops
    short, and so now and then accepts him; below one impostor pair it interpolates between none and one; it tells the
    FAR held out and not the one where the cut was set.
    """
    fars = np.searchsorted(np.sort(impostors), GRID, side="left") / len(impostors)
    return float(np.interp(far, fars, GRID))


@pytest.mark.parametrize("far", [1e-2, 1e-3])
@pytest.mark.parametrize("seed", range(4))
def test_thresholds_are_insightfaces_within_a_step_of_its_grid(far: float, seed: int) -> None:
    scores, same, fold = verification_scores(seed=seed)
    found = tar_at_far(scores, same, fold, far)
    assert isinstance(found, Tar)
    distances, theirs, between = 2 - 2 * scores, [], []
    for number in range(10):
        others, inside = (fold != number) & ~same, (fold == number) & same
        cut = insightface_cut(distances[others], far)
        own = 2 - 2 * found.point.thresholds[fold == number][0]
        assert abs(cut - own) < 1e-3
        assert (scores[others] > found.point.thresholds[fold == number][0]).mean() <= far
        theirs.append((distances[inside] < cut).mean())
        between.append((np.abs(distances[inside] - own) < abs(cut - own) + 1e-12).mean())
    assert abs(found.tar - np.mean(theirs)) <= np.mean(between) + 1e-12
    assert found.tar == pytest.approx(np.mean(theirs), abs=1e-3)


def test_insightfaces_cut_can_accept_one_impostor_too_many_and_ours_does_not() -> None:
    impostors = np.linspace(1.0, 2.0, 2700)  # three of them within a step each; the third lies early in its step
    impostors[:3] = [0.5001, 0.6001, 0.7001]
    cut = insightface_cut(impostors, 1e-3)
    assert (impostors < cut).sum() == 3
    assert (1 - impostors / 2 > far_threshold(1 - impostors / 2, 1e-3)).sum() == 2


def test_tar_at_far_survives_duplicate_scores_and_equals_its_definition() -> None:
    scores, same, fold = verification_scores(1200, folds=6)
    scores = np.round(scores, 2)
    found = tar_at_far(scores, same, fold, 0.05)
    assert isinstance(found, Tar)
    rates = []
    for number in range(6):
        others, inside = (fold != number) & ~same, (fold == number) & same
        cut = np.sort(scores[others])[::-1][25]  # 0.05 of 500 impostors
        assert found.point.thresholds[fold == number] == pytest.approx(cut)
        rates.append((scores[inside] > cut + 1e-12).mean())
    assert found.tar == pytest.approx(np.mean(rates))
    assert found.pooled == pytest.approx(found.accepted / found.total)
    assert found.total == 600
    assert found.point.far_set <= 0.05
    assert found.point.far == pytest.approx(0.05, abs=0.02)


@given(pairs_with_ties())
def test_auc_is_scikit_learns_with_ties(data: tuple[np.ndarray, np.ndarray]) -> None:
    scores, same = data
    assert auc(scores, same) == pytest.approx(roc_auc_score(same, scores))


@given(pairs_with_ties())
def test_eer_is_the_crossing_of_scikit_learns_roc_curve(data: tuple[np.ndarray, np.ndarray]) -> None:
    scores, same = data
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    gap = far - (1 - tar)
    after = int(np.argmax(gap >= 0))
    line = interp1d([0.0, 1.0], np.stack([[far[after - 1], far[after]], [gap[after - 1], gap[after]]]))
    expected = line(brentq(lambda share: line(share)[1], 0, 1))[0]
    assert eer(scores, same) == pytest.approx(expected, abs=1e-9)


def test_eer_and_auc_of_two_normals_meet_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    scores, same = np.concatenate([rng.normal(2, 1, 200_000), rng.normal(0, 1, 200_000)]), np.arange(400_000) < 200_000
    assert eer(scores, same) == pytest.approx(norm.cdf(-1), abs=2e-3)
    assert auc(scores, same) == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=2e-3)


@pytest.mark.parametrize("same", [[True, True], [False, False]])
def test_one_kind_of_pairs_alone_is_refused(same: list[bool]) -> None:
    with pytest.raises(FrbenchError, match="expected genuine and impostor pairs, got"):
        auc([0.1, 0.2], same)


def test_lfw_sized_folds_resolve_a_far_of_1e_3_and_refuse_1e_4_with_a_reason() -> None:
    scores, same, fold = verification_scores()
    assert isinstance(tar_at_far(scores, same, fold, 1e-3), Tar)
    for refused in (tar_at_far(scores, same, fold, 1e-4), fold_far_thresholds(scores, same, fold, 1e-4)):
        assert isinstance(refused, Unresolved)
        assert refused.reason == "FAR 0.0001 is below 1/2700, the resolution of 2700 impostor pairs"
