"""Pages of reference results: selection of cells, templates, layouts, and what the page says of its sources."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from frbench.harness.core.errors import ConfigError
from frbench.harness.reporting.reference_manifest import Manifest, manifest_of
from frbench.harness.reporting.reference_page import fill, index, page, present_values, selected

CELLS = pd.DataFrame(
    [
        {"attack": "fgsm", "goal": "dodging", "asr": 0.5, "asr_denominator": 40, "p.1": 2.0},
        {"attack": "fgsm", "goal": "impersonation", "asr": 0.25},
        {"attack": "pgd(steps=40)", "goal": "dodging", "asr": 1.0, "asr_denominator": 39},
    ]
).assign(source="measured", commit="abc1234")
PIVOTED = {
    "title": "ASR",
    "rows": {"goal": "{goal}"},
    "pivot": "{attack}",
    "value": ["{asr:.1p} of {asr_denominator}", "{asr:.1p}"],
}


def manifest(*tables: dict[str, Any], **fields: Any) -> Manifest:
    values = {"title": "Study", "question": "Does it work?", "text": "It does.\n", "tables": list(tables)}
    return manifest_of(values | {"date": "2026-01-02"} | fields, "study/manifest.yaml")


def table_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def test_a_pivoted_table_has_a_column_per_heading_and_dashes_for_missing_cells() -> None:
    assert table_of(page(manifest(PIVOTED), CELLS)) == [
        "| goal | fgsm | pgd(steps=40) |",
        "| --- | ---: | ---: |",
        "| dodging | 50.0 of 40 | 100.0 of 39 |",
        "| impersonation | 25.0 | – |",
    ]


def test_a_flat_table_has_a_row_per_selected_cell_with_labels_in_place_of_values() -> None:
    flat = {"title": "ASR", "where": {"attack": "pgd*"}, "columns": {"attack": "`{attack}`", "ASR": "{asr:.2f}"}}
    text = page(manifest(flat, labels={"pgd(steps=40)": "PGD"}), CELLS)
    assert table_of(text)[2:] == ["| `PGD` | 1.00 |"]


def test_several_cells_for_one_place_of_a_table_are_refused() -> None:
    crowded = PIVOTED | {"rows": {"data": "LFW"}}
    with pytest.raises(ConfigError, match="several cells for LFW and fgsm"):
        page(manifest(crowded), CELLS)


def test_a_table_without_cells_is_refused() -> None:
    with pytest.raises(ConfigError, match="'ASR' of 'Study' selects no cell"):
        page(manifest(PIVOTED | {"where": {"attack": "cw"}}), CELLS)


def test_patterns_select_by_present_missing_and_listed_values() -> None:
    def found(**where: Any) -> list[float]:
        return [row["asr"] for row in selected(present_values(CELLS), where, {})]

    assert found(attack=["fgsm", "cw"]) == [0.5, 0.25]
    assert found(asr_denominator="*") == [0.5, 1.0]
    assert found(asr_denominator=None) == [0.25]
    assert found(unknown="*") == []


def test_templates_take_the_first_one_whose_values_are_present() -> None:
    row = {"asr": 0.125, "p.1": -2.0, "n": 3, "far": float("inf")}
    assert fill(["{asr:.1p} ± {std:.1p}", "{asr:.1p} ({n})"], row) == "12.5 (3)"
    assert fill("{std}", row) == "–"
    assert fill("{p.1:.1f} and {far:.2f}", row) == "−2.0 and ∞"


def test_the_page_says_who_measured_which_cells_and_marks_the_transcribed_ones() -> None:
    cells = CELLS.assign(source=["measured", "transcribed", "measured"], commit=["abc1234", "def5678", "abc1234"])
    text = page(manifest(PIVOTED, transcribed={"why": "It takes days.", "machine": "an old one"}), cells)
    assert "Measured: 2 of 3 cells, at commit `abc1234`, on 2026-01-02." in text
    assert "Transcribed: 1 of 3 cells, marked †" in text and "commit `def5678` brought them. It takes days." in text
    assert "| impersonation | 25.0 † | – |" in text and "an old one" in text


def test_transcribed_cells_need_a_reason() -> None:
    with pytest.raises(ConfigError, match="has no `transcribed: why:`"):
        page(manifest(PIVOTED), CELLS.assign(source="transcribed"))


def test_the_page_has_the_figures_the_commands_and_the_facts_of_the_run() -> None:
    fields = {"commands": ["frbench run"], "hours": 1.25, "versions": {"torch": "2.6"}, "digests": {"lfw": "a" * 64}}
    figure = {"file": "curve.png", "caption": "A curve."}
    text = page(manifest(PIVOTED, figures=[figure], seeds=[0, 1], **fields), CELLS)
    assert "![A curve.](figures/curve.png)" in text and "```\nfrbench run\n```" in text
    for fact in ("wall-clock time: 1.2 h", "torch 2.6", "seeds: 0, 1", f"lfw `{'a' * 12}`"):
        assert f"{fact}\n" in text


def test_a_time_below_an_hour_is_in_minutes() -> None:
    assert "wall-clock time: 15 min\n" in page(manifest(PIVOTED, hours=0.25), CELLS)


def test_the_index_counts_the_cells_of_each_study() -> None:
    cells = CELLS.assign(source=["measured", "transcribed", "transcribed"])
    text = index({"lfw": (manifest(hours=2), cells)}, {"paper/some": ("Accuracy", "1 within, 3 not run")})
    assert "| [Study](lfw/README.md) | Does it work? | 1 | 2 | 2026-01-02 | 2.0 h |" in text
    assert "| [Accuracy](paper/some/README.md) | 1 within, 3 not run |" in text
