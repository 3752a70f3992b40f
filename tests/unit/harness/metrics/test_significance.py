"""Exact tests against closed forms, Holm's correction against a hand-worked example."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

from frbench.harness.metrics.significance import exact_mcnemar, holm

few = st.integers(0, 60)


@given(few, few)
def test_that_mcnemar_is_the_binomial_test_of_the_pairs_that_differ(only_a: int, only_b: int) -> None:
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert exact_mcnemar(only_a, only_b) == pytest.approx(expected, rel=1e-9)
    assert exact_mcnemar(only_a, only_b) == exact_mcnemar(only_b, only_a)


def test_that_mcnemar_equals_its_sum_worked_out_by_hand() -> None:
    """One pair against seven: 2 (C(8,0) + C(8,1)) / 2^8."""
    assert exact_mcnemar(1, 7) == pytest.approx(2 * (comb(8, 0) + comb(8, 1)) / 2**8)
    assert exact_mcnemar(0, 0) == exact_mcnemar(4, 4) == 1


def test_that_holm_multiplies_the_smallest_by_all_and_never_falls() -> None:
    """Sorted .005 .01 .03 .04 times 4 3 2 1 is .02 .03 .06 .04, and the last may not be below the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(max_examples=15)
def test_that_holm_lies_between_no_correction_and_bonferroni(p: list[float]) -> None:
    corrected = holm(p)
    assert all(raw - 1e-12 <= each <= min(1, len(p) * raw) + 1e-12 for raw, each in zip(p, corrected, strict=True))
    assert min(corrected) == pytest.approx(min(1, len(p) * min(p)))


@given(st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.01, 1.0]), min_size=1, max_size=30))
@settings(max_examples=15)  # statsmodels collects garbage at each call
def test_that_holm_is_that_of_statsmodels(p: list[float]) -> None:
    assert holm(p) == multipletests(p, method="holm")[1].tolist()
