"""Paired perturbation sizes: which cell has the larger ones, on which pairs, with which p-values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from support.fake_records import FakeStore, decided

from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.tables.paired_sizes import size_comparison_tables, size_ratios
from frbench.harness.reporting.tables.rendering import Table

ALL = np.ones(40, bool)
SMALL = np.linspace(1, 2, 40)
STOPS = {"flags": ["boundary_attack"]}


def rows(store: FakeStore) -> list[dict[str, str]]:
    (table,) = tables(store)
    return [{head: cell.text for head, cell in zip(table.header, row, strict=True)} for row in table.rows]


def tables(store: FakeStore) -> list[Table]:
    return size_comparison_tables(store.records(), Outcomes(store.scores))


def test_that_the_cell_with_larger_sizes_is_named_with_ratio_and_sign_test() -> None:
    store = FakeStore()
    decided(
        store, {"attack": "cw", "defense": "jpeg"}, ALL, {"l2": np.where(np.arange(40) < 36, 2, 0.5) * SMALL}, **STOPS
    )
    decided(store, {"attack": "cw", "defense": "none"}, ALL, {"l2": SMALL}, **STOPS)
    (row,) = rows(store)
    assert (row["fixed"], row["A"], row["B"], row["pairs"]) == ("attack cw", "none", "jpeg", "40")
    assert (row["larger A"], row["larger B"], row["A / B"]) == ("4", "36", "0.50 [0.50, 0.50]")
    assert row["p"] == f"{binomtest(4, 40).pvalue:.1e}" and row["result"] == "B larger"


def test_that_a_failure_is_larger_than_any_success_and_equal_to_a_failure() -> None:
    store = FakeStore()
    decided(store, {"defense": "none", "attack": "cw"}, np.arange(40) < 20, {"l2": SMALL}, **STOPS)
    decided(store, {"defense": "jpeg", "attack": "cw"}, np.arange(40) < 30, {"l2": SMALL}, **STOPS)
    (row,) = rows(store)
    assert (row["larger A"], row["larger B"], row["A / B"]) == ("10", "0", "1.00 [1.00, 1.00]")


def test_that_only_pairs_counted_in_both_are_compared() -> None:
    store = FakeStore()
    decided(store, {"defense": "none", "attack": "cw"}, ALL, {"l2": SMALL, "correct": np.arange(40) < 30}, **STOPS)
    decided(store, {"defense": "jpeg", "attack": "cw"}, ALL, {"l2": SMALL, "correct": np.arange(40) >= 10}, **STOPS)
    (row,) = rows(store)
    assert row["pairs"] == "20" and row["result"] == "=" and row["p"] == "1.0000"


def test_that_attacks_within_a_budget_are_not_compared_by_size() -> None:
    store = FakeStore()
    for defense in ("none", "jpeg"):
        decided(store, {"defense": defense, "attack": "pgd"}, ALL, {"l2": SMALL})
    assert tables(store) == []


def test_that_cells_without_scores_are_not_compared() -> None:
    store = FakeStore()
    for defense in ("none", "jpeg"):
        decided(store, {"defense": defense, "attack": "cw"}, ALL, {"l2": SMALL}, **STOPS)
    assert size_comparison_tables(store.records(), Outcomes(lambda name: None)) == []


_SIZE = st.one_of(st.floats(0, 1e6), st.just(np.inf))


@given(st.lists(st.tuples(_SIZE, _SIZE), min_size=1))
def test_that_swapping_the_cells_swaps_the_larger(pairs: list[tuple[float, float]]) -> None:
    first, second = np.array(pairs, np.float64).T
    one, other = size_ratios(first, second), size_ratios(second, first)
    assert not np.isnan(one).any()
    np.testing.assert_array_equal(first > second, one > 1)
    np.testing.assert_array_equal(one > 1, other < 1)


@pytest.mark.parametrize("same", [0.0, 1.0, np.inf])
def test_that_the_same_size_is_a_ratio_of_one(same: float) -> None:
    assert size_ratios(np.array([same]), np.array([same])) == [1.0]
