"""Success rates with counts and intervals."""

from __future__ import annotations

import pytest
from statsmodels.stats.proportion import proportion_confint

from frbench.harness.reporting.rates import Rate, rate_of


def test_that_a_rate_has_its_counts_and_the_wilson_interval_of_statsmodels() -> None:
    rate = Rate(4, 20)
    assert rate.share == 0.2
    assert rate.bounds == pytest.approx(proportion_confint(4, 20, method="wilson"))
    assert str(rate) == "20.0 % [8.1, 41.6] (4/20)"


def test_that_the_rate_of_a_record_comes_from_its_counts() -> None:
    assert rate_of({"measurements": {"attack": {"asr": 0.25, "asr_denominator": 8}}}) == Rate(2, 8)
    assert rate_of({"measurements": {"attack": {"asr": 0.25, "asr_successes": 3, "asr_denominator": 8}}}) == Rate(3, 8)


def test_that_a_record_without_attacked_pairs_has_no_rate() -> None:
    assert rate_of({"measurements": None}) is None
    assert rate_of({"measurements": {"attack": {"asr": None, "asr_denominator": 0}}}) is None
