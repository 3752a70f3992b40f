"""Verification numbers against scikit-learn, SciPy, published values and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score, roc_curve

from frbench.harness.core.errors import FrbenchError
from frbench.harness.metrics.confidence import clustered_bootstrap, median_interval, paired_difference, wilson
from frbench.harness.metrics.verification import (
    OperatingPoint,
    Tar,
    Unresolved,
    auc,
    best_threshold,
    eer,
    far_threshold,
    fold_far_thresholds,
    fold_thresholds,
    kfold_accuracy,
    median_size,
    security_curve,
    tar_at_far,
)


def faces(pairs: int = 6000, folds: int = 10, spread: float = 0.15, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Scores like those of a recognizer, half genuine, in the order of the official folds."""
    rng = np.random.default_rng(seed)
    same = np.tile(np.repeat([True, False], pairs // folds // 2), folds)
    scores = np.where(same, rng.normal(0.6, spread, pairs), rng.normal(0.0, 0.1, pairs))
    return scores, same, np.arange(pairs) * folds // pairs


@st.composite
def pairs_with_ties(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Few distinct scores, so that ties are common, of at least one pair of each kind."""
    values = draw(st.lists(st.integers(-5, 5), min_size=2, max_size=25))
    same = draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    same[0], same[-1] = True, False
    return np.array(values) / 5, np.array(same)


def accuracy_at(threshold: float, scores: np.ndarray, same: np.ndarray) -> float:
    return float(((scores > threshold) == same).mean())


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
    scores, same, fold = faces(600)
    thresholds = fold_thresholds(scores, same, fold)
    for number in range(10):
        assert set(thresholds[fold == number]) == {best_threshold(scores[fold != number], same[fold != number])}
    changed = np.where(fold == 3, scores + 0.4, scores)
    again = fold_thresholds(changed, same, fold)
    assert (again[fold == 3] == thresholds[fold == 3]).all()
    assert (again[fold != 3] != thresholds[fold != 3]).any()


def test_k_fold_accuracy_equals_a_plain_loop_over_the_grid() -> None:
    scores, same, fold = faces(400, folds=5, spread=0.3, seed=2)
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
    scores, same, fold = faces(40, folds=4, spread=0.4)
    first, second = kfold_accuracy(scores, same, fold), kfold_accuracy(scores[order], same[order], fold[order])
    assert first.accuracy == second.accuracy
    assert (first.thresholds[order] == second.thresholds).all()


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
    scores, same, fold = faces(seed=seed)
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


def test_realised_rates_are_counted_where_thresholds_are_set_and_where_they_are_not() -> None:
    scores, same, fold = faces(1200, folds=6)
    found = fold_far_thresholds(scores, same, fold, 0.01)
    assert isinstance(found, OperatingPoint)
    rates = [(scores[(fold != number) & ~same] > found.thresholds[fold == number][0]).mean() for number in range(6)]
    assert max(rates) <= 0.01
    assert found.far_set == pytest.approx(np.mean(rates))
    assert found.false_accepts == (scores > found.thresholds)[~same].sum()
    assert (found.impostors, found.far) == (600, found.false_accepts / 600)


def test_thresholds_of_float32_scores_are_those_of_the_same_scores_in_float64() -> None:
    scores, same, fold = faces(1200, folds=6)
    narrow = scores.astype(np.float32)
    one, other = (fold_far_thresholds(each, same, fold, 0.01) for each in (narrow, narrow.astype(np.float64)))
    assert isinstance(one, OperatingPoint) and isinstance(other, OperatingPoint)
    assert (one.thresholds == other.thresholds).all()
    assert one.false_accepts == (narrow > one.thresholds)[~same].sum()


def test_a_set_without_impostors_elsewhere_resolves_no_far() -> None:
    found = far_threshold([], 0.1)
    assert isinstance(found, Unresolved)
    assert found.reason == "there is no impostor pair to set FAR 0.1 on"


def test_a_far_below_one_impostor_pair_is_refused_with_the_number_of_pairs() -> None:
    assert far_threshold(np.arange(2700), 1 / 2700) == pytest.approx(2698)
    found = far_threshold(np.arange(2700), 1e-4)
    assert isinstance(found, Unresolved)
    assert "1/2700" in found.reason


def test_lfw_sized_folds_resolve_a_far_of_1e_3_and_refuse_1e_4_with_a_reason() -> None:
    scores, same, fold = faces()
    assert isinstance(tar_at_far(scores, same, fold, 1e-3), Tar)
    for refused in (tar_at_far(scores, same, fold, 1e-4), fold_far_thresholds(scores, same, fold, 1e-4)):
        assert isinstance(refused, Unresolved)
        assert refused.reason == "FAR 0.0001 is below 1/2700, one impostor pair of those it would be set on"


def test_tar_at_far_survives_duplicate_scores_and_equals_its_definition() -> None:
    scores, same, fold = faces(1200, folds=6)
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


def test_scores_that_are_not_finite_are_refused_and_counted() -> None:
    with pytest.raises(FrbenchError, match="2 of 4 scores are not finite"):
        best_threshold([0.1, np.nan, np.inf, 0.3], [True, False, True, False])


@pytest.mark.parametrize("same", [[True, True], [False, False]])
def test_one_kind_of_pairs_alone_is_refused(same: list[bool]) -> None:
    with pytest.raises(FrbenchError, match="both kinds are needed"):
        auc([0.1, 0.2], same)


def test_a_single_fold_is_refused() -> None:
    with pytest.raises(FrbenchError, match="names 1 folds"):
        fold_thresholds([0.1, 0.2], [True, False], [0, 0])


def test_failures_are_infinite_in_curves_and_medians() -> None:
    sizes = [1.0, 2.0, 4.0, np.inf]
    assert list(security_curve(sizes, [0.5, 1, 2, 3, 100])) == [0, 0.25, 0.5, 0.5, 0.75]
    assert median_size(sizes) == 3.0
    assert median_size([1.0, np.inf, np.inf]) == np.inf
    assert np.isnan(median_size([]))
    assert np.isnan(security_curve([], [1.0])).all()


@given(st.integers(1, 400), st.data())
def test_wilson_is_the_closed_form(total: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, total))
    z, share = norm.ppf(0.975), successes / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * np.sqrt(share * (1 - share) / total + z * z / (4 * total**2))
    assert wilson(successes, total) == pytest.approx((middle - half, middle + half), abs=1e-9)


def test_wilson_of_nothing_is_unknown() -> None:
    assert np.isnan(wilson(0, 0)).all()


def counts(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[bool], list[bool]]:
    a = [True] * both + [True] * only_a + [False] * only_b + [False] * neither
    return a, [True] * both + [False] * only_a + [True] * only_b + [False] * neither


def test_the_paired_interval_is_the_published_one() -> None:
    # airway hyper-responsiveness of 21 children before and after transplantation, the worked example of Fagerland,
    # Lydersen and Laake (Statistics in Medicine 33, 2014): Newcombe's interval is -0.507 to -0.026
    found = paired_difference(*counts(1, 1, 7, 12))
    assert (found.both, found.only_a, found.only_b, found.neither) == (1, 1, 7, 12)
    assert (found.difference, found.low, found.high) == pytest.approx((-0.286, -0.507, -0.026), abs=6e-4)


@given(st.tuples(*4 * [st.integers(0, 30)]).filter(any))
def test_the_paired_interval_holds_the_difference_and_turns_with_the_order(table: tuple[int, ...]) -> None:
    a, b = counts(*table)
    one, other = paired_difference(a, b), paired_difference(b, a)
    assert -1 - 1e-12 <= one.low <= one.difference + 1e-12
    assert one.difference <= one.high + 1e-12
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-12)


def test_equal_outcomes_differ_by_nothing_and_no_pairs_by_nan() -> None:
    a, b = counts(40, 0, 0, 60)
    assert paired_difference(a, b).difference == 0
    assert paired_difference(a, b).low < 0 < paired_difference(a, b).high
    assert np.isnan(paired_difference([], []).low)


def test_the_paired_interval_covers_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        shared = rng.random(150) < 0.5
        a = np.where(shared, rng.random(150) < 0.8, rng.random(150) < 0.3)
        b = np.where(shared, rng.random(150) < 0.6, rng.random(150) < 0.3)
        found = paired_difference(a, b)
        hits += found.low <= 0.1 <= found.high
    assert 0.925 <= hits / 400 <= 0.985


def test_the_bootstrap_of_pairs_that_share_nobody_is_the_binomial_one() -> None:
    success = np.random.default_rng(3).random(2000) < 0.8
    low, high = clustered_bootstrap(success, np.arange(2000))
    expected = binomtest(int(success.sum()), 2000).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=3e-3)
    wide_low, wide_high = clustered_bootstrap(success, np.arange(4000).reshape(2000, 2))
    assert (wide_high - wide_low) / (high - low) == pytest.approx(np.sqrt(3), rel=0.1)  # conservative, as documented


def test_pairs_of_one_person_are_resampled_together() -> None:
    people = np.repeat(np.arange(50), 20)
    success = np.random.default_rng(0).random(50)[people] < 0.5  # all pairs of a person end alike
    low, high = clustered_bootstrap(success, people)
    per_person = np.std([success[people == p].mean() for p in range(50)]) / np.sqrt(50)
    assert high - low == pytest.approx(2 * 1.96 * per_person, rel=0.12)
    assert clustered_bootstrap(success, np.stack([people, people], axis=1)) == (low, high)


def test_the_bootstrap_is_the_same_each_time_and_in_any_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    success, people = rng.random(300) < 0.6, rng.integers(0, 80, (300, 2))
    once = clustered_bootstrap(success, people, resamples=200)
    assert once != clustered_bootstrap(success, people, resamples=200, seed=1)
    monkeypatch.setattr("frbench.harness.metrics.confidence._CHUNK", 1000)
    assert clustered_bootstrap(success, people, resamples=200) == once


def test_people_who_are_unknown_give_no_bootstrap() -> None:
    assert np.isnan(clustered_bootstrap([True, False], [3, -1])).all()
    assert np.isnan(clustered_bootstrap([], np.empty((0, 2)))).all()


def test_the_interval_of_a_median_is_the_textbooks_pair_of_order_statistics() -> None:
    sizes = np.random.default_rng(0).permutation(100) + 1.0
    assert median_interval(sizes) == (40, 61)  # Conover, Practical Nonparametric Statistics: n = 100, 95 %
    assert median_interval(np.where(sizes > 60, np.inf, sizes)) == (40, np.inf)
    assert median_interval([np.inf] * 30) == (np.inf, np.inf)
    assert np.isnan(median_interval([1.0, 2.0])).all()
    assert np.isnan(median_interval([])).all()
