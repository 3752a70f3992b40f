"""Comparisons between cells: which are flagged, by which difference, and which are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.fake_records import NAMES, FakeStore, attacked, decided

from frbench.harness.metrics.confidence import paired_difference
from frbench.harness.reporting.crosscheck import Findings, compare
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.report import report
from frbench.harness.reporting.tables.rendering import CLEAN, DOUBTED
from frbench.harness.reporting.tables.success import gap_tables
from frbench.harness.storage.records import Record


def found_in(store: FakeStore) -> Findings:
    return compare(store.records(), Outcomes(store.scores))


def pair_of_threats(adaptive: float, oblivious: float) -> tuple[FakeStore, Record, Record]:
    store = FakeStore()
    one = attacked(store, NAMES, 8.0, adaptive)
    return store, one, attacked(store, NAMES | {"threat": "oblivious"}, 8.0, oblivious)


def first(count: int, of: int = 100) -> list[bool]:
    return list(np.arange(of) < count)


def last(count: int, of: int = 100) -> list[bool]:
    return first(count, of)[::-1]


def test_an_adaptive_attack_that_does_worse_than_the_oblivious_one_is_flagged() -> None:
    store, adaptive, oblivious = pair_of_threats(0.25, 0.6)
    findings = found_in(store)
    assert findings.all_flags(adaptive) == ["adaptive_weaker_than_oblivious"]
    assert findings.all_flags(oblivious) == []
    shortfall = findings.flags[adaptive["fingerprint"]]["adaptive_weaker_than_oblivious"]
    assert shortfall.other == "pgd, oblivious"
    assert shortfall.gap == findings.gaps[adaptive["fingerprint"]]


def test_that_flags_of_comparisons_are_in_the_tidy_table_and_in_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frbench.harness.reporting.figures.collect.draw", lambda *arguments: [])
    store, adaptive, _ = pair_of_threats(0.25, 0.6)
    report(store, tmp_path)
    assert "adaptive weaker than oblivious" in (tmp_path / "tables" / "report.md").read_text(encoding="utf-8")
    frame = pd.read_csv(tmp_path / "tables" / "cells.csv").set_index("fingerprint")
    assert frame.loc[adaptive["fingerprint"], "flags"] == "adaptive_weaker_than_oblivious"


def test_a_stronger_adaptive_attack_is_not_flagged_and_its_gain_is_the_paired_difference() -> None:
    store, adaptive, oblivious = pair_of_threats(0.6, 0.35)
    findings = found_in(store)
    assert not findings.flags
    kept = [store.frames[r["fingerprint"]].query("correct")["success"] for r in (adaptive, oblivious)]
    gap = paired_difference(*kept)
    assert gap.difference > 0.2
    (table,) = gap_tables(store.records(), findings)
    expected = f"{100 * gap.difference:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}] ({len(kept[0])})"
    assert expected in [cell.text for cell in table.rows[0]]


def test_a_difference_within_chance_is_not_flagged() -> None:
    store, adaptive, oblivious = pair_of_threats(0.4, 0.4)
    frame = store.frames[adaptive["fingerprint"]] = store.frames[oblivious["fingerprint"]].copy()
    frame.loc[frame.index[frame["success"]][:2], "success"] = False
    assert not found_in(store).flags


def test_cells_without_common_attack_settings_are_not_compared() -> None:
    store = FakeStore()
    attacked(store, NAMES, 8.0, 0.2)
    attacked(store, NAMES | {"threat": "oblivious"}, 8.0, 0.7, settings={"attack.steps": 40})
    assert not found_in(store).flags


def test_that_without_per_pair_scores_the_intervals_must_be_disjoint() -> None:
    store, adaptive, _ = pair_of_threats(0.2, 0.7)
    store.frames.clear()
    (shortfall,) = found_in(store).flags[adaptive["fingerprint"]].values()
    assert shortfall.gap is None
    store, _, _ = pair_of_threats(0.4, 0.41)
    store.frames.clear()
    assert not found_in(store).flags


@pytest.mark.parametrize("threat", ["query", "transfer"])
def test_a_black_box_that_beats_the_best_white_box_flags_it_whatever_the_attacks(threat: str) -> None:
    store = FakeStore()
    weak = decided(store, {"attack": "fgsm"}, first(20))
    best = decided(store, {"attack": "pgd"}, first(50))
    black = decided(store, {"attack": "square", "threat": threat, "surrogate": "other"}, first(70))
    findings = found_in(store)
    assert findings.all_flags(best) == ["weaker_than_black_box"]
    assert findings.all_flags(weak) == findings.all_flags(black) == []
    shortfall = findings.flags[best["fingerprint"]]["weaker_than_black_box"]
    assert shortfall.gap is not None
    assert shortfall.gap.difference == pytest.approx(-0.2)
    assert shortfall.other == f"square, {threat} from other"


def test_that_the_flag_names_the_clearest_of_several_black_box_attacks() -> None:
    store = FakeStore()
    white = decided(store, {"attack": "pgd"}, first(30))
    for attack, won in (("nes", 60), ("square", 80), ("evolutionary", 70)):
        decided(store, {"attack": attack, "threat": "query"}, first(won))
    assert found_in(store).flags[white["fingerprint"]]["weaker_than_black_box"].other == "square, query"


def test_a_black_box_within_chance_or_elsewhere_flags_nothing() -> None:
    store = FakeStore()
    decided(store, {"attack": "pgd"}, first(50))
    decided(store, {"attack": "square", "threat": "query"}, last(53))  # 3 points more, but on other pairs
    for other in ({"budget": "linf_16"}, {"goal": "impersonation"}, {"defense": "pca"}, {"recognizer": "b"}):
        decided(store, {"attack": "square", "threat": "query"} | other, first(90))
    assert not found_in(store).flags


@pytest.mark.parametrize(("defense", "flagged"), [("none", True), ("jpeg", False)])
def test_an_oblivious_attacker_is_white_box_only_where_there_is_no_defense(defense: str, flagged: bool) -> None:
    store = FakeStore()
    white = decided(store, {"threat": "oblivious", "defense": defense}, first(20))
    decided(store, {"threat": "transfer", "surrogate": "other", "defense": defense}, first(70))
    assert (found_in(store).all_flags(white) == ["weaker_than_black_box"]) == flagged


def test_only_pairs_counted_in_both_are_compared() -> None:
    """Over its own 100 pairs the black box wins more; over the 50 common ones it wins fewer."""
    store = FakeStore()
    decided(store, {"attack": "pgd"}, first(40), {"correct": first(50)})
    decided(store, {"attack": "square", "threat": "query"}, [*first(35, 50), *first(50, 50)])
    assert not found_in(store).flags
    gap = Outcomes(store.scores).difference(*store.records())
    assert gap is not None
    assert (gap.both + gap.only_a + gap.only_b + gap.neither, gap.only_a, gap.only_b) == (50, 5, 0)


def test_a_badge_says_whether_an_audit_ran_and_whether_anything_casts_doubt() -> None:
    store, audit = FakeStore(), {"audit": {"level": "basic", "figures": {}, "flags": []}}
    plain = decided(store, {"attack": "a"}, first(50))
    clean = decided(store, {"attack": "b"}, first(50), attack=audit)
    kind = decided(store, {"attack": "c"}, first(50), attack=audit, flags=["boundary_attack"])
    doubted = decided(store, {"attack": "d"}, first(50), attack=audit, flags=["boundary_attack", "not_converged"])
    broken = decided(store, {"attack": "e"}, first(50), flags=["broken_images"])
    findings = found_in(store)
    badges = [findings.badge(r) for r in (plain, clean, kind, doubted, broken)]
    assert badges == ["", CLEAN, CLEAN, DOUBTED, DOUBTED]
    decided(store, {"attack": "f", "threat": "query"}, first(90))
    assert found_in(store).badge(plain) == DOUBTED  # the first of the best
