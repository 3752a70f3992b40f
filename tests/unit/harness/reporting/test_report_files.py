"""The files of a report: contents of the tables, and independence of the order of the records."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from support.fake_records import (
    NAMES,
    FakeStore,
    attacked,
    operating_point,
    sweep,
    tables,
    with_pictures,
)

from frbench.harness.metrics.confidence import wilson
from frbench.harness.reporting.report import report

pytestmark = pytest.mark.usefixtures("quick")

FIGURES = {
    "knowledge_ladder",
    "accuracy_against_robustness",
    "asr_heatmap",
    "scores",
    "examples",
}


def test_a_cell_shows_rate_interval_and_counts_with_clean_accuracy_beside(tmp_path: Path) -> None:
    store = FakeStore()
    record = attacked(store, NAMES, 8.0, 0.4)
    report(store, tmp_path)
    attack, clean = record["measurements"]["attack"], record["measurements"]["clean"]
    k, d = attack["asr_successes"], attack["asr_denominator"]
    low, high = (100 * bound for bound in wilson(k, d))
    assert 0 < k < d
    text = tables(tmp_path)
    assert f"{100 * k / d:.1f} [{low:.1f}, {high:.1f}] ({k}/{d})" in text
    assert f"{100 * clean['accuracy']:.2f} [{100 * clean['accuracy_low']:.2f}" in text
    assert f"{attack['left_out']}/{attack['eligible']}" in text
    for fact in (
        "LFW, 240 pairs",
        "adaptive",
        "dodging",
        "linf_8",
        "Seed: 0",
        "margin=0.05",
        "best accuracy on the other",
    ):
        assert fact in text


def test_files_are_byte_identical_in_whatever_order_the_records_come(tmp_path: Path, drawn: None) -> None:
    store, few = with_pictures(sweep(("pgd",), ("linf_8",))), {"defense": ["none", "jpeg"], "goal": "dodging"}
    store.images = dict(list(store.images.items())[:1])
    written = report(store, tmp_path / "one", where=few, figures="all")
    for record in store.cells.values():
        record["card"] |= {"seconds": 99.0, "forwards": 1, "backwards": 0, "attack_generated": False}
    store.cells = dict(sorted(store.cells.items(), reverse=True))
    report(store, tmp_path / "two", where=few, figures="all")
    one = {p.relative_to(tmp_path / "one"): p.read_bytes() for p in (tmp_path / "one").rglob("*.*")}
    two = {p.relative_to(tmp_path / "two"): p.read_bytes() for p in (tmp_path / "two").rglob("*.*")}
    assert {path.suffix for path in one} == {".md", ".tex", ".csv", ".png", ".pdf"}
    assert {path.stem.split("-")[0] for path in written if path.suffix == ".png"} == FIGURES
    assert sorted(written) == sorted(tmp_path / "one" / path for path in one)
    assert one == two
    assert all(path.name in tables(tmp_path / "one") for path in written if path.suffix == ".png")


def test_that_refused_and_crashed_cells_show_their_reason(tmp_path: Path) -> None:
    store = sweep(("pgd",), ("linf_8",))
    names = NAMES | {"defense": "service"}
    store.add(names, status="refused", reason="pgd needs a gradient and the view gives none")
    trace = 'Traceback (most recent call last):\n  File "/home/me/x.py", line 3\nValueError: no such | thing'
    store.add(names | {"attack": "cw"}, status="crashed", reason=trace)
    report(store, tmp_path)
    text = tables(tmp_path)
    row = [line for line in text.splitlines() if "service" in line][-1]
    assert [cell.strip() for cell in row.split("|")[-3:-1]] == ["crashed <sup>a</sup>", "refused <sup>b</sup>"]
    assert "- <sup>b</sup> refused: pgd needs a gradient and the view gives none" in text
    assert "- <sup>a</sup> crashed: ValueError: no such | thing" in text
    assert "/home/me" not in "".join(p.read_text() for p in (tmp_path / "tables").iterdir())


def test_that_a_finished_cell_replaces_a_crashed_one_and_two_finished_ones_are_both_shown(tmp_path: Path) -> None:
    store = FakeStore()
    first = attacked(store, NAMES, 8.0, 0.4, salt="old")
    store.add(NAMES, status="crashed", reason="boom", salt="older")
    report(store, tmp_path / "one")
    assert "boom" not in tables(tmp_path / "one")
    assert " / " not in tables(tmp_path / "one")
    second = attacked(store, NAMES, 8.0, 0.3, salt="new")
    report(store, tmp_path / "two")
    text = tables(tmp_path / "two")
    for record in (first, second):
        assert f"{100 * record['measurements']['attack']['asr']:.1f} [" in text
    assert "several results have these labels" in text
    report(store, tmp_path / "three", where={"fingerprint": second["fingerprint"][:10]})
    assert " / " not in tables(tmp_path / "three")


def test_that_flags_are_footnotes(tmp_path: Path) -> None:
    store = FakeStore()
    attacked(store, NAMES, 8.0, 0.4, flags=["zero_gradient", "boundary_attack"])
    report(store, tmp_path)
    assert "<sup>a,b</sup>" in tables(tmp_path)
    assert "- <sup>a</sup> boundary attack\n- <sup>b</sup> zero gradient" in tables(tmp_path)


def test_a_clean_table_has_one_row_for_each_defense_and_says_which_far_cannot_be_resolved(tmp_path: Path) -> None:
    report(sweep(("pgd",)), tmp_path)
    text = (tmp_path / "tables" / "clean-lfw.md").read_text(encoding="utf-8")
    assert [line.split("|")[2].strip() for line in text.splitlines() if line.startswith("|")][2:] == [
        "none",
        "jpeg",
        "pca",
    ]
    assert "FAR 0.001 is below 1/90" in text


def test_that_tables_at_a_far_show_the_realised_far(tmp_path: Path) -> None:
    report(sweep(("pgd",)), tmp_path)
    point = operating_point()
    counts = f"({point.false_accepts}/{point.impostors}), {100 * point.far_set:.3f} on the calibration folds"
    attacks = "asr-lfw-tiny-dodging-adaptive"
    text = {
        name: (tmp_path / "tables" / f"{name}.md").read_text(encoding="utf-8")
        for name in ("clean-lfw", f"{attacks}-far0.1", attacks)
    }
    assert [counts in each for each in text.values()] == [True, True, False]


def test_table_csv_reads_back_and_repeats_every_row_name(tmp_path: Path) -> None:
    report(sweep(("fgsm", "pgd")), tmp_path)
    name = "asr-lfw-tiny-dodging-adaptive.csv"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "tables" / name).read_text(encoding="utf-8"))))
    assert [(row["budget"], row["defense"]) for row in rows] == [
        (budget, defense) for budget in ("linf_2", "linf_8") for defense in ("none", "jpeg", "pca")
    ]
    assert all("(" in row["pgd"] for row in rows)


def test_that_settings_are_in_the_label_and_a_seed_has_its_own_table(tmp_path: Path) -> None:
    store = FakeStore()
    attacked(store, NAMES, 8.0, 0.4)
    attacked(store, NAMES, 8.0, 0.5, settings={"attack.steps": 40})
    attacked(store, NAMES, 8.0, 0.5, settings={"seed": 1})
    report(store, tmp_path)
    assert "pgd(steps=40)" in tables(tmp_path)
    assert "adaptive attacker, seed 1" in tables(tmp_path)
    assert (tmp_path / "tables" / "asr-lfw-tiny-dodging-adaptive-seed_1.md").exists()


def test_that_a_report_without_figures_has_the_same_tables(tmp_path: Path) -> None:
    store = sweep(attacks=("fgsm",), budgets=("linf_2",))
    report(store, tmp_path / "with")
    report(store, tmp_path / "without", figures="none")
    assert not (tmp_path / "without" / "figures").exists()
    for path in (tmp_path / "with" / "tables").iterdir():
        if path.name != "report.md":
            assert path.read_bytes() == (tmp_path / "without" / "tables" / path.name).read_bytes()
    assert "](../figures/" not in tables(tmp_path / "without")
