"""Paired comparisons: which cells, on which pairs, with which p-values and results."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from support.fake_records import FakeStore, decided

from frbench.harness.metrics.confidence import paired_difference
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.tables.paired_tests import comparison_tables
from frbench.harness.reporting.tables.rendering import Table

STRONG, MIDDLE, WEAK = (np.arange(60) < won for won in (50, 46, 20))


def tables(store: FakeStore) -> list[Table]:
    return comparison_tables(store.records(), Outcomes(store.scores))


def rows(table: Table) -> dict[tuple[str, ...], dict[str, str]]:
    found = [{head: cell.text for head, cell in zip(table.header, row, strict=True)} for row in table.rows]
    return {(row["budget"], row["fixed"], row["A"], row["B"]): row for row in found}


@pytest.fixture
def store() -> FakeStore:
    """Two defenses, two attacks, two budgets; one cell has another threat model and meets nobody."""
    made = FakeStore()
    for budget, attack, defense, won in (
        ("linf_8", "pgd", "none", STRONG),
        ("linf_8", "cw", "none", MIDDLE),
        ("linf_8", "pgd", "jpeg", WEAK),
        ("linf_2", "pgd", "none", WEAK),
    ):
        decided(made, {"budget": budget, "attack": attack, "defense": defense}, won)
    decided(made, {"budget": "linf_8", "attack": "pgd", "defense": "pca", "threat": "oblivious"}, WEAK)
    return made


def test_that_defenses_are_compared_for_an_attack_and_attacks_for_a_defense(store: FakeStore) -> None:
    (table,) = tables(store)
    assert set(rows(table)) == {
        ("linf_8", "attack pgd", "none", "jpeg"),
        ("linf_8", "defense none", "cw", "pgd"),
    }
    assert "all 2 comparisons" in table.caption


def test_that_a_row_shows_counts_difference_p_and_corrected_p(store: FakeStore) -> None:
    (table,) = tables(store)
    row = rows(table)["linf_8", "attack pgd", "none", "jpeg"]
    assert (row["pairs"], row["ASR A %"], row["ASR B %"]) == ("60", "83.3", "33.3")
    assert (row["only A"], row["only B"], row["result"]) == ("30", "0", "A higher")
    gap = paired_difference(STRONG, WEAK)
    assert row["A − B"] == f"+50.0 [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]"
    p = binomtest(0, 30).pvalue
    assert (row["p"], row["p Holm"]) == (f"{p:.1e}", f"{2 * p:.1e}")
    close = rows(table)["linf_8", "defense none", "cw", "pgd"]
    assert (close["only A"], close["only B"], close["p"], close["p Holm"]) == ("0", "4", "0.1250", "0.1250")
    assert close["result"] == "="


def test_that_only_pairs_counted_in_both_are_compared() -> None:
    store = FakeStore()
    decided(store, {"attack": "a"}, WEAK, {"correct": np.arange(60) < 40})
    decided(store, {"attack": "b"}, STRONG, {"correct": np.arange(60) >= 10})
    (row,) = rows(tables(store)[0]).values()
    assert (row["pairs"], row["only A"], row["only B"], row["result"]) == ("30", "0", "20", "B higher")


def test_that_results_with_equal_labels_show_their_fingerprints_and_are_never_compared() -> None:
    store = FakeStore()
    twins = [decided(store, {"attack": "a"}, won, salt=name) for won, name in ((WEAK, "x"), (STRONG, "y"))]
    assert tables(store) == []
    decided(store, {"attack": "b"}, STRONG)
    named = {f"a #{record['fingerprint'][:6]}" for record in twins}
    assert {key[2:] for key in rows(tables(store)[0])} == {(name, "b") for name in named}


def test_that_cells_without_per_pair_scores_are_not_compared(store: FakeStore) -> None:
    store.frames.clear()
    assert tables(store) == []


def test_that_equal_cells_have_a_p_of_one() -> None:
    store = FakeStore()
    for attack in ("a", "b"):
        decided(store, {"attack": attack}, MIDDLE)
    (row,) = rows(tables(store)[0]).values()
    assert (row["p"], row["p Holm"], row["result"]) == ("1.0000", "1.0000", "=")
