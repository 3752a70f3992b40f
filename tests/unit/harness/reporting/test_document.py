"""The document of a report: its opening, its sections, and what is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from support.fake_records import (
    NAMES,
    FakeStore,
    attacked,
    clean_measurements,
    decided,
    sweep,
    tables,
)

from frbench.harness.reporting.report import report

pytestmark = pytest.mark.usefixtures("quick")


def test_that_the_document_has_a_section_of_sizes_and_of_queries(tmp_path: Path) -> None:
    store, won = FakeStore(), [True, True, False]
    sizes, queries = {name: [1.0, 2.5, 9.0] for name in ("linf", "rms", "l2")}, {"queries": [20, 31, 100]}
    decided(store, {"attack": "cw", "budget": "unbounded"}, won, sizes, flags=["boundary_attack"])
    limits = {"queries": {"mean": 50.0, "limit": 100}}
    decided(store, {"attack": "square", "threat": "query"}, won, queries, limits | {"views": ["victim"]})
    decided(store, {"attack": "nes", "threat": "query"}, [False] * 3, queries, limits)
    report(store, tmp_path)
    text = tables(tmp_path)
    for title in ("Perturbation sizes", "Queries", "Tables without results"):
        assert f"## {title}\n" in text
    assert "\n- Paired comparisons of the ASR: [" in text  # no difference is significant on three pairs
    assert "Audit" not in text
    assert pd.read_csv(tmp_path / "tables" / "cells.csv")["views"].dropna().tolist() == ["victim"]


def test_a_table_too_long_to_read_is_linked_and_not_shown(tmp_path: Path) -> None:
    store = FakeStore()
    for number in range(30):  # 15 pairs of attacks that no test tells apart from each other, and 225 that it does
        decided(store, {"attack": f"a{number}"}, [number < 15] * 40)
    report(store, tmp_path)
    name = "paired-lfw-tiny-dodging-adaptive.md"
    assert f"435 rows: [{name}]({name})" in tables(tmp_path)
    assert (tmp_path / "tables" / name).read_text(encoding="utf-8").count("defense jpeg") == 435
    assert "A − B" not in tables(tmp_path)


def test_that_rows_and_tables_without_results_are_named_and_not_shown(tmp_path: Path) -> None:
    store = FakeStore()
    for attack, won in (("a", 40), ("b", 40), ("c", 0)):
        decided(
            store, {"attack": attack}, [k < won for k in range(40)], attack={"at_far": {"0.001": {"reason": "few"}}}
        )
    decided(store, {"attack": "a", "goal": "impersonation"}, [True] * 40)
    decided(store, {"attack": "b", "goal": "impersonation"}, [True] * 40)
    report(store, tmp_path)
    body, end = tables(tmp_path).split("## Tables without results")
    name = "paired-lfw-tiny-dodging-adaptive.md"
    assert f"Not shown here, see [{name}]({name}): a row without a result." in body
    assert "| =" not in body and "| n/a" not in body and body.count("| A higher") == 2
    assert (tmp_path / "tables" / name).read_text(encoding="utf-8").count("| =") == 1
    assert "- Paired comparisons of the ASR: [Paired comparisons of the ASR of impersonation" in end
    assert "FAR 0.001 on the other folds: ASR of dodging" in end and "(few)" in end and end.count("\n- ") == 3
    assert not [path.name for path in (tmp_path / "tables").iterdir() if "far0.001" in path.name]


def test_that_figures_have_titles_and_captions_and_the_document_says_how_many_results_they_leave_out(
    tmp_path: Path, drawn: None
) -> None:
    store = FakeStore()
    attacked(store, NAMES, 8.0, 0.4, salt="old")
    store.add(NAMES, status="crashed", reason="boom", salt="older")
    report(store, tmp_path / "one", figures="all")
    text = tables(tmp_path / "one")
    assert "## Figures" in text and "figures one result" not in text
    lines = text.splitlines()
    (at,) = [number for number, line in enumerate(lines) if "asr_heatmap-" in line]
    title = "Attack success by defense and attack, L∞ ≤ 8/255. tiny on LFW, 240 pairs"
    assert lines[at] == f"![{title}](../figures/asr_heatmap-lfw-tiny-linf_8.png)"
    assert lines[at + 2].startswith("*ASR in %, above successes/attacked pairs") and lines[at + 2].endswith(".*")
    attacked(store, NAMES, 8.0, 0.3, salt="new")
    attacked(store, NAMES, 8.0, 0.2, salt="newer")
    report(store, tmp_path / "three", figures="all")
    assert "figures one result per combination of labels; 2 other results" in tables(tmp_path / "three")


def test_that_a_report_opens_with_the_headline_table_and_three_figures(tmp_path: Path, drawn: None) -> None:
    written = report(sweep(("pgd",), ("linf_8",)), tmp_path)
    opening, *_ = tables(tmp_path).split("\n## ")
    assert opening.startswith("# Report\n\n**Without a defense**")
    assert re.findall(r"\n### (.*?):", opening) == ["Success of attacks by what the attacker knows"]
    shown = re.findall(r"\(\.\./figures/(\w+)-lfw-tiny-linf_8\.png\)", opening)
    assert shown == ["knowledge_ladder", "accuracy_against_robustness", "roc_and_det"]
    assert {path.suffix for path in written if "figures" in path.parts} == {".png", ".pdf"}
    assert not any("scores-" in path.name for path in written)


def test_that_a_report_without_attacks_opens_with_its_tables(tmp_path: Path) -> None:
    store = FakeStore()
    store.add(NAMES | {"attack": "none"}, measurements={"clean": clean_measurements(), "attack": None})
    report(store, tmp_path)
    assert tables(tmp_path).startswith("# Report\n\n## Clean accuracy")


def test_that_the_headlines_of_other_budgets_come_after_the_opening(tmp_path: Path) -> None:
    report(sweep(("pgd",)), tmp_path)
    opening, other, *_ = tables(tmp_path).split("\n## ")
    assert "L∞ ≤ 2/255" in opening and "L∞ ≤ 8/255" not in opening.split("### ")[1].split("\n")[0]
    assert other.startswith("Other headline tables\n") and "L∞ ≤ 8/255" in other
