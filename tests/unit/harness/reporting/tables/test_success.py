"""Tables of success rates, post-processing, sizes, queries, randomized defenses and the audit."""

from __future__ import annotations

from typing import Any

import numpy as np
from support.fake_records import FakeStore, decided, rate

from frbench.harness.reporting.crosscheck import Findings, compare
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.tables.audit import audit_tables
from frbench.harness.reporting.tables.perturbation_sizes import queries_tables, size_tables
from frbench.harness.reporting.tables.postprocessing import draws_tables, postprocessing_tables
from frbench.harness.reporting.tables.rendering import CLEAN, DOUBTED, Cell, Table
from frbench.harness.reporting.tables.success import BEST_ACCURACY, attack_tables

WON = [True, True, True, False]
AUDIT = {"level": "basic", "figures": {"zero_gradients": 0.0, "not_converged": 0.31}, "flags": []}


def findings(store: FakeStore) -> Findings:
    return compare(store.records(), Outcomes(store.scores))


def row(table: Table, number: int = 0) -> dict[str, str]:
    return {head: cell.text for head, cell in zip(table.header, table.rows[number], strict=True)}


def survived(successes: int, total: int, **more: Any) -> dict[str, Any]:
    return rate(successes, total) | {"not_found": 0, "clean_flips": 0, "reason": None} | more


def test_that_each_postprocessing_has_a_column_with_its_rate_and_undetected_faces() -> None:
    store, nothing = FakeStore(), dict.fromkeys((*rate(1, 2), "not_found", "clean_flips"))
    ways = {
        "png": survived(3, 4),
        "jpeg_75": survived(1, 4, clean_flips=2),
        "redetected": survived(0, 4, not_found=3, clean_flips=1),
        "resized": nothing | {"reason": "needs OpenCV"},
    }
    decided(store, {}, WON, attack={"postprocessing": ways})
    decided(store, {"attack": "cw"}, WON, attack={"postprocessing": {"png": survived(2, 4)}})
    decided(store, {"attack": "fgsm"}, WON)  # an old record, without the measurement
    (table,) = postprocessing_tables(store.records(), findings(store))
    assert table.header == ("budget", "defense", "attack", "original", "jpeg 75", "png", "redetected", "resized")
    assert row(table, 1) == {
        "budget": "linf_8",
        "defense": "jpeg",
        "attack": "pgd",
        "original": "75.0 [30.1, 95.4] (3/4)",
        "jpeg 75": "25.0 [4.6, 69.9] (1/4); 2 without attack",
        "png": "75.0 [30.1, 95.4] (3/4)",
        "redetected": "0.0 [0.0, 49.0] (0/4); 3 not detected; 1 without attack",
        "resized": "n/a",
    }
    assert table.rows[1][-1].notes == ("needs OpenCV",)
    assert [row(table, 0)[way] for way in ("jpeg 75", "png")] == ["–", "50.0 [15.0, 85.0] (2/4)"]
    assert len(table.rows) == 2


def test_that_the_size_of_a_failure_is_infinite_whatever_the_scores_table_says() -> None:
    store = FakeStore()
    columns = {"linf": [1.0, 3.0, 8 * (1 + 1e-7), 0.5], "rms": [0.5, 1.5, 4, 0.2], "l2": [0.1, 0.2, 0.9, 0.1]}
    decided(store, {"attack": "cw"}, WON, columns, flags=["boundary_attack"])
    decided(store, {"attack": "lots"}, [True, False, False, False], columns, flags=["boundary_attack"])
    decided(store, {"attack": "pgd"}, WON, columns)
    (table,) = size_tables(store.records(), findings(store), store.scores)
    assert len(table.rows) == 2
    expected = {"median L∞": "5.50", "median RMS": "2.75", "median L2": "0.55", "ASR %": "75.0 [30.1, 95.4] (3/4)"}
    expected |= {"ASR % at L∞ 2": "25.0", "ASR % at L∞ 4": "50.0", "ASR % at L∞ 8": "75.0", "AUC %": "56.2"}
    assert expected.items() <= row(table).items()
    assert {"AUC % to L∞ 32": "65.6", "AUC % to L2 8": "71.2"}.items() <= row(table).items()
    assert row(table, 1)["median RMS"] == "∞"


def test_that_a_median_size_has_an_interval_where_the_pairs_allow_one() -> None:
    store = FakeStore()
    many = {"linf": np.arange(20.0), "l2": np.arange(20.0) / 10}
    decided(store, {}, [True] * 14 + [False] * 6, many, flags=["boundary_attack"])
    (table,) = size_tables(store.records(), findings(store), store.scores)
    assert (row(table)["median L∞"], row(table)["median RMS"]) == ("9.50 [5.00, ∞]", "–")


def test_that_sizes_count_only_pairs_decided_correctly_and_are_missing_without_scores() -> None:
    store = FakeStore()
    columns = {"linf": [1.0, 2.0, 9.0, 9.0], "correct": [True, True, False, False]}
    record = decided(store, {}, WON, columns, flags=["boundary_attack"])
    assert row(size_tables([record], Findings(), store.scores)[0])["median L∞"] == "1.50"
    assert row(size_tables([record], Findings(), store.scores)[0])["median L2"] == "–"
    assert row(size_tables([record], Findings(), lambda name: None)[0])["AUC %"] == "–"


def test_that_queries_have_a_median_over_successes_and_one_over_all() -> None:
    store, queries = FakeStore(), {"mean": 325.5, "median": 150.0, "max": 1000.0, "limit": 1000}
    names = {"attack": "square", "threat": "query"}
    decided(store, names, WON, {"queries": [100, 2, 200, 1000]}, {"queries": queries})
    decided(store, {}, WON, {"queries": [20] * 4}, {"queries": queries | {"limit": None}})  # white-box: not asked
    (table,) = queries_tables(store.records(), findings(store), store.scores)
    assert len(table.rows) == 1
    expected = {"median of successes": "100", "median": "150", "mean": "326", "limit": "1000"}
    assert expected.items() <= row(table).items()
    decided(store, names | {"attack": "nes"}, [False] * 4, {"queries": [1000] * 4}, {"queries": queries})
    (table,) = queries_tables(store.records(), findings(store), store.scores)
    assert {"median of successes": "–", "median": "∞"}.items() <= row(table).items()


def test_that_randomized_defenses_have_majority_mean_any_and_all() -> None:
    store = FakeStore()
    draws = {"k": 5, "asr_mean": 0.55, "asr_std": 0.02, "asr_any": 0.8, "asr_all": 0.25, "clean_flips": 0.031}
    decided(store, {}, WON, attack={"draws": draws})
    decided(store, {"attack": "cw"}, WON, attack={"draws": None})
    (table,) = draws_tables(store.records(), findings(store))
    assert len(table.rows) == 1
    assert [cell.value for cell in table.rows[0][3:]] == ["5", "75.0", "55.0 ± 2.0", "80.0", "25.0", "3.1"]


def test_that_the_attack_table_shows_badges_and_explains_them() -> None:
    store = FakeStore()
    decided(store, {"attack": "a"}, WON, attack={"audit": AUDIT, "views": ["soft", "bare"], "eot_draws": 8})
    decided(store, {"attack": "b"}, WON, attack={"audit": AUDIT}, flags=["not_converged"])
    decided(store, {"attack": "c"}, WON)
    (table,) = attack_tables(store.records(), findings(store), BEST_ACCURACY)
    assert [cell.badge for cell in table.rows[0][-3:]] == [CLEAN, DOUBTED, ""]
    assert table.rows[0][-2] == Cell("75.0", "[30.1, 95.4] (3/4)", ("not converged",), DOUBTED)
    assert CLEAN in table.caption and DOUBTED in table.caption
    assert "Attacker's gradient: soft + bare, EOT over 8 draws (jpeg)." in table.caption


def test_that_the_audit_counts_cells_and_shows_the_value_behind_every_flag() -> None:
    store, limits = FakeStore(), {"audit": {"not_converged": 0.05}}
    decided(store, {"attack": "a"}, WON, attack={"audit": AUDIT})
    flagged = {"flags": ["not_converged"], "hyperparameters": limits}
    decided(store, {"attack": "b"}, WON, attack={"audit": AUDIT}, **flagged)
    decided(store, {"attack": "c"}, WON, attack={"audit": AUDIT | {"level": "full"}}, flags=["boundary_attack"])
    decided(store, {"attack": "d"}, WON)
    counts, flags = audit_tables(store.records(), findings(store))
    assert [cell.value for cell in counts.rows[0][5:]] == ["4", "2", "1", "2", "1", "1"]
    assert len(flags.rows) == 1
    assert {"attack": "b", "flag": "not converged", "value": "0.31", "limit": "0.05"}.items() <= row(flags).items()


def test_that_the_audit_shows_the_difference_behind_a_failed_comparison() -> None:
    store = FakeStore()
    decided(store, {"attack": "pgd"}, np.arange(100) < 50, attack={"audit": AUDIT})
    decided(store, {"attack": "square", "threat": "query"}, np.arange(100) < 70, attack={"audit": AUDIT})
    flags = audit_tables(store.records(), findings(store))[1]
    assert row(flags)["flag"] == "weaker than black box"
    assert row(flags)["value"].startswith("−20.0 [−27.7, −11.8]")
    assert row(flags)["value"].endswith("] compared with square, query")


def test_that_there_is_no_audit_section_without_an_audit_or_a_doubt() -> None:
    store = FakeStore()
    decided(store, {}, WON)
    assert audit_tables(store.records(), findings(store)) == []
    decided(store, {"attack": "cw"}, WON, attack={"audit": AUDIT})
    assert [table.slug for table in audit_tables(store.records(), findings(store))] == ["audit"]
