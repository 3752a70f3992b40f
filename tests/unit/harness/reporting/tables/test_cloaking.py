"""Tables and figures of face cloaking, on fabricated records; verification tables leave them out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fake_records import FakeStore, attacked, printed, tables

from frbench.harness.reporting.crosscheck import Findings, compare
from frbench.harness.reporting.figures import collect_cloaking as figures_cloaking
from frbench.harness.reporting.file_names import file_names
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.report import report
from frbench.harness.reporting.tables.cloaking import cloaking_tables
from frbench.harness.reporting.tables.rendering import DOUBTED, MISSING, Table
from frbench.harness.storage.records import select

NAMES = {
    "dataset": "cfp_users",
    "protocol": "cloaking",
    "tracker": "nearest",
    "goal": "cloak",
    "threat": "oblivious",
    "budget": "unbounded",
    "defense": "none",
    "attack": "fawkes",
}


def cloaked(store: FakeStore, asr: float, normal: float | None = 0.98, **more: Any) -> dict[str, Any]:
    """Add a finished cell in which so many of 240 photos were lost."""
    names = {name: more.pop(name) for name in list(more) if name in NAMES or name == "recognizer"}
    lost = round(240 * asr)
    attack = {
        "asr": asr,
        "asr_low": max(asr - 0.1, 0),
        "asr_high": min(asr + 0.1, 1),
        "asr_successes": lost,
        "asr_denominator": 240,
        "users": 20,
        "splits": 3,
        "top5": 1 - asr / 2,
        "no_cloak_error": 0.025,
        "normal_accuracy": normal,
        "fit_accuracy": 1.0,
        "photos": 280,
        "left_natural": 2,
        "linf": {"median": 16.0},
        "dssim": {"median": 0.0174},
        "border_probe_accuracy": 0.52,
        "fidelity": {"psnr": 30.25, "ssim": 0.9, "cosine": 0.81, "cosine_bare": -0.12}
        | {"psnr_natural": "inf", "ssim_natural": 1.0, "cosine_natural": 1.0},
        "views": ["bare"],
    }
    clean = {"accuracy": 0.975, "accuracy_low": 0.95, "accuracy_high": 0.99, "accuracy_std": 0.01, "pairs": 240}
    clean |= {"top5": 0.99, "fit_accuracy": 1.0, "fidelity": {"psnr": 20.0, "ssim": 0.5, "cosine": 0.5}}
    return store.add(NAMES | names, more.pop("settings", {}), measurements={"clean": clean, "attack": attack}, **more)


def made(store: FakeStore) -> dict[str, Table]:
    """Tables by the beginning of their file names."""
    records = select(store.records(), None)
    found = cloaking_tables(records, compare(records, Outcomes(store.scores)))
    return {str(table.slug).split("-cfp")[0]: table for table in found}


def lines(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


@pytest.fixture
def store() -> FakeStore:
    full = FakeStore()
    for attack, asr in (("fawkes", 0.75), ("lowkey", 0.6)):
        cloaked(full, asr, attack=attack)
        cloaked(full, asr / 10, 0.97, attack=attack, defense="puface")
        cloaked(full, asr - 0.1, attack=attack, tracker="linear")
    cloaked(full, 0.5, attack="fawkes", defense="jpeg", tracker="linear")
    return full


def test_that_rows_are_cloaks_and_defenses_and_columns_recognizers_and_trackers(store: FakeStore) -> None:
    table = made(store)["cloaks"]
    assert table.header == ("attack", "budget", "defense", "protocol", "tiny, linear", "tiny, nearest")
    assert lines(table)[:3] == [
        ["fawkes", "unbounded", "none", "", "65.0 / 98.0 [55.0, 75.0] (156/240)", "75.0 / 98.0 [65.0, 85.0] (180/240)"],
        ["fawkes", "unbounded", "jpeg", "", "50.0 / 98.0 [40.0, 60.0] (120/240)", MISSING],
        ["fawkes", "unbounded", "puface", "", MISSING, "7.5 / 97.0 [0.0, 17.5] (18/240)"],
    ]
    assert [row[0] for row in lines(table)] == ["fawkes"] * 3 + ["lowkey"] * 2


def test_that_means_are_over_cells_with_and_without_the_defense(store: FakeStore) -> None:
    table = made(store)["cloaks-mean"]
    assert lines(table) == [
        ["jpeg", "65.0", "50.0", "98.0", "98.0", "1"],
        ["puface", "67.5", "6.8", "98.0", "97.0", "2"],
        ["published: PuFace", "69.84", "7.61", MISSING, MISSING, MISSING],
    ]
    assert "not measured here" in table.caption


def test_that_no_mean_is_taken_where_nothing_can_be_compared() -> None:
    store = FakeStore()
    cloaked(store, 0.5)
    cloaked(store, 0.1, defense="puface", attack="lowkey")
    assert "cloaks-mean" not in made(store)


def test_that_diagnostics_fidelity_and_trackers_show_the_measurements(store: FakeStore) -> None:
    found = made(store)
    beside = dict(zip(found["cloaks-diagnostics"].header, lines(found["cloaks-diagnostics"])[0], strict=True))
    assert {
        name: beside[name]
        for name in ("no cloak %", "training accuracy %", "not cloaked", "L∞", "DSSIM", "border probe %")
    } == {
        "no cloak %": "2.5",
        "training accuracy %": "100.0",
        "not cloaked": "2/280",
        "L∞": "16.0",
        "DSSIM": "0.0174",
        "border probe %": "52.0",
    }
    assert lines(found["cloaks-fidelity"])[0][4:] == ["∞", "1.000", "1.000", "−0.120", "0.810", "30.2", "0.900"]
    assert lines(found["trackers"])[0] == ["tiny", "linear", "none", "97.5 [95.0, 99.0]", "1.0", "99.0", "100.0", "240"]


def test_that_flags_refusals_and_protocol_settings_are_shown() -> None:
    store = FakeStore()
    cloaked(store, 1.0, flags=["geometry_leak"])
    cloaked(store, 0.2, None, settings={"protocol.uncloaked_training_photos": 5})
    store.add(NAMES | {"tracker": "finetuned"}, {}, status="refused", reason="shows no network")
    table = made(store)["cloaks"]
    assert [row[3].text for row in table.rows] == ["", "uncloaked_training_photos=5"]
    finetuned, nearest = table.rows[0][4:]
    assert (finetuned.text, finetuned.notes) == ("refused", ("refused: shows no network",))
    assert nearest.badge == DOUBTED and nearest.notes == ("geometry leak",)
    assert table.rows[1][5].value == f"20.0 / {MISSING}"


def test_that_uncloaked_training_photos_do_not_change_the_tracker_table() -> None:
    store = FakeStore()
    cloaked(store, 0.5)
    cloaked(store, 0.2, settings={"protocol.uncloaked_training_photos": 5})
    assert len(made(store)["trackers"].rows) == 1


def test_that_tables_of_pairs_leave_cloaks_out_and_the_report_has_both(
    store: FakeStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"attack": "pgd", "defense": "none", "goal": "dodging", "budget": "linf_8", "threat": "oblivious"}
    attacked(store, names, 8, 0.7)
    report(store, tmp_path)
    text = tables(tmp_path)
    pairs, _, cloaks = text.partition("## Cloaking")
    assert "## Attack success" in pairs and "fawkes" not in pairs and "cfp_users" not in pairs
    assert "fawkes" in cloaks and "pgd" not in cloaks.partition("## Figures")[0]
    rows = (tmp_path / "tables" / "cells.csv").read_text("utf-8").splitlines()
    assert len(rows) == 1 + len(store.records())
    assert "tracker" in rows[0].split(",")
    found = printed(store, capsys, where={"tracker": "linear"})
    assert len(found) == 3 and {each["tracker"] for each in found} == {"linear"}


def test_that_cloaking_cells_are_not_compared(store: FakeStore) -> None:
    for record in list(store.records()):
        cloaked(store, 0.01, threat="adaptive", attack=record["names"]["attack"], tracker=record["names"]["tracker"])
    assert compare(store.records(), Outcomes(store.scores)) == Findings()


def amplified(store: FakeStore, k: float | list[int], asr: float, **more: Any) -> dict[str, Any]:
    settings = {"defense.recipe.amplification.factor": k}
    return cloaked(store, asr, defense="puface", settings=settings, hyperparameters=trained_on(k), **more)


def trained_on(k: float | list[int]) -> dict[str, Any]:
    return {"defense": {"recipe": {"amplification": {"factor": k}}}}


def test_that_success_is_drawn_against_amplification_where_several_were_trained() -> None:
    store = FakeStore()
    assert not list(figures_cloaking.amplification_figures([amplified(store, 5, 0.1)]))
    for k, asr in ((1, 0.6), (3, 0.3), (10, 0.05)):
        for tracker in ("nearest", "linear"):
            amplified(store, k, asr, tracker=tracker)
    amplified(store, [1, 2, 3], 0.2)  # a mixture has no one K
    (drawing,) = figures_cloaking.amplification_figures(select(store.records(), None))
    assert drawing.file.plain == "cloaks_by_amplification-cfp_users-oblivious-defense_puface"
    above, below = drawing.figure().axes
    lines = {tuple(line.get_xdata()) for line in above.get_lines()}
    assert lines == {(1, 3, 5, 10), (1, 3, 10)}
    nearest = next(line for line in above.get_lines() if len(line.get_xdata()) == 4)
    assert list(nearest.get_ydata()) == pytest.approx([60, 30, 10, 5])
    assert (above.get_ylabel(), below.get_ylabel()) == ("success, %", "PSNR, dB")


def test_that_purifiers_with_other_training_settings_have_their_own_figure() -> None:
    """A point of each K that was trained in the same way, and none in the place of another."""
    store = FakeStore()
    for k, asr in ((1, 0.6), (5, 0.3)):
        amplified(store, k, asr)
    for k, asr in ((3, 0.2), (5, 0.1)):
        settings = {"defense.recipe.amplification.factor": k, "defense.recipe.schedule.epochs": 6}
        cloaked(store, asr, defense="puface", settings=settings, hyperparameters=trained_on(k))
    longer = {"defense.recipe.schedule.epochs": 7}
    cloaked(store, 0.9, defense="puface", settings=longer, hyperparameters=trained_on(5))
    specs = list(figures_cloaking.amplification_figures(select(store.records(), None)))
    lines = {tuple(map(round, spec.figure().axes[0].get_lines()[0].get_ydata())) for spec in specs}
    assert lines == {(60, 30), (20, 10)}
    name = "cloaks_by_amplification-cfp_users-oblivious-defense_puface"
    assert file_names([spec.file for spec in specs]) == [name, f"{name}-epochs_6"]


def looks(people: int = 10, shots: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(people), shots)
    centres = rng.normal(size=(people, 2))[user]
    points = {name: centres + 0.1 * rng.normal(size=centres.shape) for name in ("natural", "purified", "both")}
    planes = {f"plane_{name}": each for name, each in (points | {"cloaked": points["natural"] + 2}).items()}
    images = dict(zip(("natural", "cloaked", "purified"), rng.random((3, 3, 16, 16, 3)), strict=True))
    return {**planes, **images, "plane_user": user, "user": np.arange(3), "index": np.arange(3) * shots}


def test_that_one_users_embeddings_and_photos_are_drawn_once_for_all_trackers(store: FakeStore) -> None:
    records = select(store.records(), None)
    for record in records:
        store.images[record["fingerprint"]] = looks()
    planes = list(figures_cloaking.embedding_figures(store, records))
    assert len(planes) == 5  # two cloaks with and without PuFace, one behind JPEG
    published, behind = planes[0].figure().axes
    assert (published.get_title(), behind.get_title()) == ("as published", "after the defense")
    others, own, cloaks = published.collections
    assert [len(each.get_offsets()) for each in (others, own, cloaks)] == [36, 4, 4]
    np.testing.assert_allclose(cloaks.get_offsets() - own.get_offsets(), 2)
    grids = list(figures_cloaking.cloak_grids(store, records, 2))
    assert len(grids) == 5
    assert {"original", "cloaked", "purified"} <= {text.get_text() for text in grids[0].figure().axes[0].texts}


def test_that_the_report_writes_these_figures(store: FakeStore, tmp_path: Path) -> None:
    (first, *_) = store.records()
    store.images[first["fingerprint"]] = looks()
    names = {path.stem.split("-")[0] + path.suffix for path in report(store, tmp_path) if path.parent.name == "figures"}
    assert names == {"cloak_embeddings.png", "cloak_embeddings.pdf", "cloaked_photos.png"}
