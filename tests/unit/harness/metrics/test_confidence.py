"""Confidence intervals against closed forms, published values and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from frbench.harness.metrics import confidence
from frbench.harness.metrics.confidence import clustered_bootstrap, median_interval, paired_difference, wilson


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


def by_definition(success: np.ndarray, people: np.ndarray, resamples: int) -> tuple[float, float]:
    """Each resample draws people; a pair counts as often as its people were drawn together."""
    names, draws, shares = np.unique(people), np.random.default_rng(0), []
    for _ in range(resamples):
        drawn = dict(zip(names, draws.multinomial(len(names), np.full(len(names), 1 / len(names))), strict=True))
        weights = [int(np.prod([drawn[person] for person in set(pair)])) for pair in people]
        if sum(weights):
            shares.append(sum(w for w, won in zip(weights, success, strict=True) if won) / sum(weights))
    tail = (1 - 0.95) / 2
    low, high = np.quantile(shares, [tail, 1 - tail])
    return float(low), float(high)


@settings(max_examples=40)
@given(st.integers(1, 12), st.integers(1, 2), st.integers(1, 30), st.integers(0, 2**32 - 1), st.booleans())
def test_that_the_bootstrap_equals_its_definition_to_the_last_bit(
    people: int, sides: int, pairs: int, seed: int, chunked: bool
) -> None:
    rng = np.random.default_rng(seed)
    clusters, success = rng.integers(0, people, (pairs, sides)), rng.random(pairs) < 0.5
    with pytest.MonkeyPatch.context() as patch:
        if chunked:  # as for more people and pairs than fit into memory
            patch.setattr(confidence, "_CHUNK", 40)
            patch.setattr(confidence, "_KEPT", 0)
        assert clustered_bootstrap(success, clusters, 50) == by_definition(success, clusters, 50)
