"""Decision thresholds against scikit-learn, the definition and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve
from support.verification_scores import accuracy_at, pairs_with_ties, verification_scores

from frbench.harness.core.errors import FrbenchError
from frbench.harness.metrics.thresholds import (
    OperatingPoint,
    Unresolved,
    best_threshold,
    far_threshold,
    fold_far_thresholds,
    fold_thresholds,
)


@given(pairs_with_ties())
def test_no_threshold_is_more_accurate_than_the_best_one(data: tuple[np.ndarray, np.ndarray]) -> None:
    scores, same = data
    brute = max(accuracy_at(t, scores, same) for t in [*np.unique(scores), scores.min() - 1])
    assert accuracy_at(best_threshold(scores, same), scores, same) == brute


def test_a_clean_gap_is_cut_in_its_middle() -> None:
    assert best_threshold([0.1, 0.2, 0.6, 0.8], [False, False, True, True]) == pytest.approx(0.4, abs=2e-3)


def test_of_several_equally_good_gaps_the_lowest_one_is_cut() -> None:
    # the gaps around 0.15, 0.35 and 0.55 each leave one error
    assert best_threshold([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0, 1, 0, 1, 0, 1]) == pytest.approx(0.15, abs=2e-3)


def test_equal_scores_are_never_parted() -> None:
    assert best_threshold([0.5, 0.5, 0.5], [True, True, False]) < 0.5


def test_the_threshold_of_a_fold_comes_from_the_others_alone() -> None:
    scores, same, fold = verification_scores(600)
    thresholds = fold_thresholds(scores, same, fold)
    for number in range(10):
        assert set(thresholds[fold == number]) == {best_threshold(scores[fold != number], same[fold != number])}
    changed = np.where(fold == 3, scores + 0.4, scores)
    again = fold_thresholds(changed, same, fold)
    assert (again[fold == 3] == thresholds[fold == 3]).all()
    assert (again[fold != 3] != thresholds[fold != 3]).any()


TARGETS = st.one_of(st.floats(0.04, 0.96), st.sampled_from([0.07, 0.1, 0.29, 0.57]))
# lattices make ties, float32 what recognizers return
IMPOSTORS = st.one_of(
    st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=60),
    st.lists(st.integers(-8, 8).map(lambda k: k / 8), min_size=25, max_size=150),
)


@given(IMPOSTORS, TARGETS, st.sampled_from([np.float32, np.float64]))
@settings(max_examples=300)
def test_the_far_threshold_is_the_lowest_that_accepts_at_most_the_target(
    impostors: list[float], far: float, kind: type
) -> None:
    scores = np.array(impostors, kind)
    threshold = far_threshold(scores, far)
    if isinstance(threshold, Unresolved):
        assert 1 / len(scores) > far
        return
    assert (scores > threshold).mean() <= far
    assert (scores > np.nextafter(threshold, -np.inf)).mean() > far
    assert (scores.astype(np.float64) > threshold).sum() == (scores > threshold).sum()


@given(pairs_with_ties(), TARGETS)
@settings(max_examples=300)
def test_the_rates_are_the_highest_point_of_scikit_learns_roc_curve_at_most_at_the_target(
    data: tuple[np.ndarray, np.ndarray], far: float
) -> None:
    scores, same = data
    threshold = far_threshold(scores[~same], far)
    if isinstance(threshold, Unresolved):
        return
    fars, tars, _ = roc_curve(same, scores, drop_intermediate=False)
    last = np.flatnonzero(fars <= far)[-1]
    assert ((scores > threshold)[~same].mean(), (scores > threshold)[same].mean()) == (fars[last], tars[last])


@pytest.mark.parametrize("far", [0.07, 0.1, 0.29, 0.57])  # products with 100 that floats miss by a hair
def test_at_a_whole_number_of_impostors_the_far_is_met_exactly(far: float) -> None:
    scores = np.random.default_rng(1).permutation(100) / 100
    assert (scores > far_threshold(scores, far)).sum() == round(100 * far)


def test_at_a_broken_number_of_impostors_the_part_is_dropped() -> None:
    """2.7 of 2,700 impostors: two, where interpolation between the third and the fourth accepted three (1.11e-3)."""
    scores = np.random.default_rng(0).permutation(2700) / 2700
    assert (scores > far_threshold(scores, 1e-3)).sum() == 2
    assert (scores > np.quantile(scores, 1 - 1e-3, method="interpolated_inverted_cdf")).sum() == 3


def test_realised_rates_are_counted_where_thresholds_are_set_and_where_they_are_not() -> None:
    scores, same, fold = verification_scores(1200, folds=6)
    found = fold_far_thresholds(scores, same, fold, 0.01)
    assert isinstance(found, OperatingPoint)
    rates = [(scores[(fold != number) & ~same] > found.thresholds[fold == number][0]).mean() for number in range(6)]
    assert max(rates) <= 0.01
    assert found.far_set == pytest.approx(np.mean(rates))
    assert found.false_accepts == (scores > found.thresholds)[~same].sum()
    assert (found.impostors, found.far) == (600, found.false_accepts / 600)


def test_thresholds_of_float32_scores_are_those_of_the_same_scores_in_float64() -> None:
    scores, same, fold = verification_scores(1200, folds=6)
    narrow = scores.astype(np.float32)
    one, other = (fold_far_thresholds(each, same, fold, 0.01) for each in (narrow, narrow.astype(np.float64)))
    assert isinstance(one, OperatingPoint) and isinstance(other, OperatingPoint)
    assert (one.thresholds == other.thresholds).all()
    assert one.false_accepts == (narrow > one.thresholds)[~same].sum()


def test_a_set_without_impostors_elsewhere_resolves_no_far() -> None:
    found = far_threshold([], 0.1)
    assert isinstance(found, Unresolved)
    assert found.reason == "there are no impostor pairs to set FAR 0.1"


def test_a_far_below_one_impostor_pair_is_refused_with_the_number_of_pairs() -> None:
    assert far_threshold(np.arange(2700), 1 / 2700) == pytest.approx(2698)
    found = far_threshold(np.arange(2700), 1e-4)
    assert isinstance(found, Unresolved)
    assert "1/2700" in found.reason


def test_scores_that_are_not_finite_are_refused_and_counted() -> None:
    with pytest.raises(FrbenchError, match="2 of 4 scores are not finite"):
        best_threshold([0.1, np.nan, np.inf, 0.3], [True, False, True, False])


def test_a_single_fold_is_refused() -> None:
    with pytest.raises(FrbenchError, match="at least 2 folds, got"):
        fold_thresholds([0.1, 0.2], [True, False], [0, 0])
