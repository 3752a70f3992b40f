"""``results/reference/``: every page is what its data render, and every number of its text stands in its tables."""

from __future__ import annotations

import csv
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from frbench.harness.reporting.paper.reference import cells_text

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "reference"
NUMBER = re.compile(r"(?<![\w./-])\d+\.\d+(?![\w./])")


def load_script() -> ModuleType:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        spec = importlib.util.spec_from_file_location("reference_results", ROOT / "scripts" / "reference_results.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


SCRIPT = load_script()
PAGES = SCRIPT.pages()
studies = pytest.mark.parametrize("study", SCRIPT.STUDIES)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.parent.name))
def test_a_page_equals_what_its_data_render(path: Path) -> None:
    assert path.read_text("utf-8") == PAGES[path], "run python scripts/reference_results.py render"


def test_every_folder_is_a_study_of_the_list_or_a_table_of_a_paper() -> None:
    assert {path.name for path in REFERENCE.iterdir() if path.is_dir()} == {*SCRIPT.STUDIES, "paper"}
    assert {f"paper/{path.name}" for path in (REFERENCE / "paper").iterdir()} == set(SCRIPT.PAPERS)


@pytest.mark.parametrize("paper", SCRIPT.PAPERS)
def test_the_cells_of_a_paper_have_the_published_values_and_readings_of_today(paper: str) -> None:
    _, readings, run = SCRIPT.read_paper(REFERENCE / paper)
    assert (REFERENCE / paper / "cells.csv").read_text("utf-8") == cells_text(readings)
    assert bool(run.commit) == any(reading.ours for reading in readings)
    assert set(NUMBER.findall(re.sub(r"`[^`]*`", "", run.text))) <= set(
        NUMBER.findall(PAGES[REFERENCE / paper / "README.md"].split("## Published")[1])
    )


@studies
def test_every_cell_has_a_source_and_a_commit(study: str) -> None:
    with (REFERENCE / study / "cells.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert {row["source"] for row in rows} <= {"measured", "transcribed"}
    assert not [row for row in rows if not re.fullmatch(r"[0-9a-f]{7}", row["commit"])]
    assert len({tuple(row.values()) for row in rows}) == len(rows)


@studies
def test_a_page_with_transcribed_cells_names_their_commits_and_the_reason(study: str) -> None:
    manifest, cells = SCRIPT.read_study(REFERENCE / study)
    carried = cells[cells["source"] == "transcribed"]
    page = (REFERENCE / study / "README.md").read_text("utf-8")
    if len(carried):
        assert f"Transcribed: {len(carried)} of {len(cells)} cells" in page
        assert " ".join(manifest.transcribed.why.split()) in page
        assert all(f"`{commit}`" in page for commit in carried["commit"])
    else:
        assert "Transcribed" not in page


@studies
def test_every_figure_is_named_by_the_manifest_and_on_the_page(study: str) -> None:
    manifest, _ = SCRIPT.read_study(REFERENCE / study)
    page = (REFERENCE / study / "README.md").read_text("utf-8")
    files = {path.name for path in (REFERENCE / study / "figures").glob("*")}
    assert files == {figure.file for figure in manifest.figures}
    assert all(f"(figures/{name})" in page for name in files)


@studies
def test_no_column_of_a_table_is_empty_throughout(study: str) -> None:
    """An empty column means a misspelled template."""
    page = (REFERENCE / study / "README.md").read_text("utf-8")
    for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        header, _, *body = [[cell.strip() for cell in line.split(" | ")] for line in block.splitlines()]
        empty = [name for i, name in enumerate(header) if all(row[i].strip("| ") in ("", "–") for row in body)]
        assert not empty, (header, empty)


@studies
def test_every_number_of_the_text_stands_in_a_table(study: str) -> None:
    manifest, _ = SCRIPT.read_study(REFERENCE / study)
    text = re.sub(r"`[^`]*`", "", manifest.text)  # settings stand in backticks
    tables = set(NUMBER.findall((REFERENCE / study / "README.md").read_text("utf-8").split("## Tables")[1]))
    assert set(NUMBER.findall(text)) <= tables


@pytest.mark.parametrize("study", [*SCRIPT.STUDIES, *SCRIPT.PAPERS])
def test_no_path_of_a_machine_stands_in_the_data(study: str) -> None:
    for name in ("cells.csv", "manifest.yaml"):
        text = (REFERENCE / study / name).read_text("utf-8")
        assert not re.search(r"(?:^|[\s,=\"'(:])/(?:home|root|tmp|work|data|mnt|Users)/", text)


def test_the_readme_and_the_results_folder_link_to_what_exists() -> None:
    for path in (ROOT / "results" / "README.md", REFERENCE / "README.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", path.read_text("utf-8")):
            assert (path.parent / link).exists(), (path, link)
