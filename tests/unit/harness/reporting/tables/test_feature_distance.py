"""Tables and figures of ASR against feature distance, on fabricated records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.fake_records import FakeStore, printed, rate, tables

from frbench.harness.reporting.colours import UNDEFENDED, defense_look
from frbench.harness.reporting.crosscheck import Findings, compare
from frbench.harness.reporting.figures.collect_feature_distance import distance_figures
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.report import report
from frbench.harness.reporting.tables.feature_distance import distance_tables
from frbench.harness.reporting.tables.rendering import DOUBTED, Table
from frbench.harness.storage.cell_line import cell_line
from frbench.harness.storage.records import select

NAMES = {
    "protocol": "feature_distance",
    "goal": "impersonation",
    "threat": "oblivious",
    "budget": "unbounded",
    "defense": "none",
    "attack": "lots",
}
DISTANCES = ("1.2", "0.5", "0.1")


def walked(store: FakeStore, won: tuple[int, ...] = (10, 60, 30), of: int = 80, **more: Any) -> dict[str, Any]:
    """Add a cell whose images won so many ``of`` its pairs at each distance; 100 pairs walked, 40 came to the last."""
    names = {name: more.pop(name) for name in list(more) if name in NAMES}
    distances = {}
    for distance, hits, came in zip(DISTANCES, won, (100, 100, 40), strict=True):
        reached = {name.replace("asr", "share"): value for name, value in rate(came, 100).items()}
        size = {"mean": 1.0, "median": 12.345 if came > 50 else "inf", "max": 20.0}
        distances[distance] = rate(hits, of) | {"in_8_bits": rate(hits - 1, of), "reached": reached}
        distances[distance] |= dict.fromkeys(("linf", "l2", "rms", "ssim"), size)
    clean = {"accuracy": 0.993, "accuracy_low": 0.99, "accuracy_high": 0.995, "accuracy_std": 0.01, "pairs": 600}
    attack = {"distances": distances, "eligible": 100, "left_out": 100 - of, "views": ["bare"]}
    asked = {"protocol": {"distances": [1.2, 0.5, 0.1]}}
    found = {"measurements": {"clean": clean, "attack": attack}, "hyperparameters": asked}
    return store.add(NAMES | names, more.pop("settings", {}), **(found | more))


def made(store: FakeStore) -> list[Table]:
    records = select(store.records(), None)
    return distance_tables(records, compare(records, Outcomes(store.scores)))


@pytest.fixture
def store() -> FakeStore:
    full = FakeStore()
    walked(full)
    walked(full, (2, 40, 20), 70, defense="diverse_ensemble")
    walked(full, (5, 50, 25), attack="lots_ifgsm")
    return full


def test_that_each_distance_has_a_row_and_each_defended_model_a_column(store: FakeStore) -> None:
    first, second = made(store)
    assert first.header == ("q", "reached %", "L2", "L∞", "none", "diverse_ensemble")
    assert [[cell.text for cell in row] for row in first.rows] == [
        ["1.2", "100.0 (100/100)", "12.35", "12.3", *NEAR_NOTHING],
        ["0.5", "100.0 (100/100)", "12.35", "12.3", *HALFWAY],
        ["0.1", "40.0 (40/100)", "∞", "∞", *NEAREST],
    ]
    assert second.header[4:] == ("none",)
    assert "lots_ifgsm" in second.title and "tiny on LFW" in second.title


NEAR_NOTHING = ("12.5 / 11.2 [6.9, 21.5] (10/80)", "2.9 / 1.4 [0.8, 9.8] (2/70)")
HALFWAY = ("75.0 / 73.8 [64.5, 83.2] (60/80)", "57.1 / 55.7 [45.5, 68.1] (40/70)")
NEAREST = ("37.5 / 36.2 [27.7, 48.5] (30/80)", "28.6 / 27.1 [19.3, 40.1] (20/70)")


def test_that_a_refused_cell_shows_its_reason_and_a_doubted_cell_its_flag() -> None:
    store = FakeStore()
    walked(store, flags=["low_clean_accuracy"])
    walked(store, defense="jpeg", measurements=None, status="refused", reason="no way to walk")
    (table,) = made(store)
    doubted, refused = table.rows[0][-2:]
    assert (doubted.badge, doubted.notes) == (DOUBTED, ("low clean accuracy",))
    assert (refused.text, refused.notes) == ("refused", ("refused: no way to walk",))


def test_that_unfinished_cells_have_the_rows_of_their_settings() -> None:
    store = FakeStore()
    walked(store, measurements=None, status="crashed", reason="Traceback\nOSError: full")
    (table,) = made(store)
    assert [row[0].text for row in table.rows] == list(DISTANCES)
    assert table.rows[0][1].text == "–"
    assert not list(distance_figures(select(store.records(), None)))


def test_that_the_summary_line_shows_the_first_and_last_distance(store: FakeStore) -> None:
    line = cell_line(store.records()[0], found=False)
    assert "at q = 1.2 ASR  12.5 % [6.9, 21.5] of 80, at q = 0.1 ASR  37.5 %" in line
    assert line.count("\n") == 0


def test_that_only_clean_accuracy_shares_a_table_with_verification(
    store: FakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "frbench.harness.reporting.figures.collect.save", lambda figure, stem, *endings: [stem.with_suffix(".png")]
    )
    written = [path.name for path in report(store, tmp_path)]
    text = tables(tmp_path)
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Clean accuracy",
        "## Feature distance",
        "## Figures",
    ]
    assert sum(name.endswith(".png") for name in written) == 2
    assert sum(name.startswith("feature-distance-") and name.endswith(".md") for name in written) == 2


def test_that_a_record_is_one_line_of_json(store: FakeStore, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(store, capsys)
    assert len(lines) == 3
    assert lines[0]["measurements"]["attack"]["distances"]["0.5"]["asr"] == 0.75
    assert lines[0]["asr"] is None


def test_that_the_figure_has_a_line_for_each_defense_and_the_nearest_distance_at_the_right(store: FakeStore) -> None:
    specs = distance_figures(select(store.records(), None))
    (figure,) = (spec.figure() for spec in specs if spec.file.plain.endswith("-attack_lots"))
    (panel,) = figure.axes
    left, right = panel.get_xlim()
    assert left > 1.2 > 0.1 > right
    reached, none, diverse = panel.get_lines()
    assert list(reached.get_ydata()) == pytest.approx([40, 100, 100])
    assert list(none.get_ydata()) == pytest.approx([37.5, 75, 12.5])
    assert list(diverse.get_xdata()) == [0.1, 0.5, 1.2]
    assert (none.get_color(), diverse.get_color()) == (UNDEFENDED, defense_look("diverse_ensemble").colour)
    assert len(panel.collections) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "no defense",
        "diverse_ensemble",
        "pairs that reached q",
    ]


def test_that_without_records_there_are_no_tables_and_figures() -> None:
    assert distance_tables([], Findings()) == []
    assert not list(distance_figures([]))
