"""The formats of a report, and which records it is about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.fake_records import (
    NAMES,
    PAIRS,
    FakeStore,
    printed,
    sweep,
)

from frbench.harness.core.errors import FrbenchError
from frbench.harness.reporting.report import report


def test_json_lines_are_strict_flat_and_sorted(capsys: pytest.CaptureFixture[str]) -> None:
    store = sweep(("pgd",), ("linf_8", "linf_2"))
    store.add(NAMES | {"defense": "service"}, status="refused", reason="why not")
    lines = printed(store, capsys)
    keys = "dataset recognizer defense attack goal budget threat protocol status clean_accuracy asr asr_low asr_high"
    keys += " asr_denominator threshold seconds forwards backwards attack_generated flags"
    assert all(set(keys.split()) <= set(line) for line in lines)
    assert [line["asr"] for line in lines if line["attack"] == "none"] == [None]
    attack = next(line["measurements"]["attack"] for line in lines if line["attack"] == "pgd")
    assert attack["linf"]["mean"] == "inf"
    assert attack["bootstrap_low"] is None
    refused = next(line for line in lines if line["status"] == "refused")
    assert (refused["reason"], refused["clean_accuracy"]) == ("why not", None)
    budgets = [line["budget"] for line in lines if line["defense"] == "jpeg" and line["goal"] == "dodging"]
    assert budgets == ["linf_2", "linf_8", "linf_2", "linf_8"]


def test_json_of_an_empty_store_is_empty_and_its_tables_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(FakeStore(), capsys) == []
    with pytest.raises(FrbenchError, match="frbench run"):
        report(FakeStore(), tmp_path)


def test_that_an_unknown_format_is_an_error_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(FrbenchError, match="unknown format=xml; choose from files, json"):
        report(FakeStore(), tmp_path, "xml")


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ({"defense": "jpeg"}, 8),
        ({"defense": ["jpeg", "pca"], "goal": "dodging"}, 8),
        ({"status": "done", "attack": None}, 25),
        ({"settings": {"dataset": {"limit": PAIRS}}}, 25),
    ],
)
def test_where_chooses_records(where: dict[str, Any], count: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(printed(sweep(("pgd",)), capsys, where=where)) == count


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"defense": "jpg"}, "where.defense=jpg matches no record; values found: none, jpeg, pca"),
        ({"defence": "jpeg"}, "unknown filter where.defence; take one of dataset"),
    ],
)
def test_that_a_filter_without_a_match_is_an_error_with_the_known_values(
    where: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(FrbenchError, match=message):
        report(sweep(("pgd",), ("linf_8",)), tmp_path, where=where)


def test_that_unknown_figures_are_an_error_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(FrbenchError, match="unknown figures=True; choose from main, all, none"):
        report(FakeStore(), tmp_path, figures=True)  # type: ignore[arg-type]
