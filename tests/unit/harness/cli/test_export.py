"""``frbench export``: where files go, what is printed, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.stored_cells import few_cells, stored

from frbench.harness.cli.main import main


@pytest.fixture
def results(tmp_path: Path) -> Path:
    stored(few_cells(), tmp_path / "results")
    return tmp_path / "results"


def test_that_exports_go_to_the_results_folder(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "sqlite", f"paths.results={results}"]) == 0
    assert capsys.readouterr().out == f"3 records and 5 pairs in {results}/exports/frbench.sqlite\n"
    assert main(["export", "parquet", f"paths.results={results}", "where.attack=fgsm"]) == 0
    assert "1 records and 2 pairs" in capsys.readouterr().out
    assert sorted(path.name for path in (results / "exports").rglob("*.*")) == [
        "frbench.sqlite",
        "pairs.parquet",
        "records.parquet",
    ]


def test_that_an_export_of_images_says_what_is_missing(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "images", f"paths.results={results}"]) == 0
    out = capsys.readouterr().out
    assert f"images of 0 of 5 pairs in 0 folders below {results}/exports/images" in out
    assert "1 records without images: crashed" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "a format first, sqlite, parquet, images, got nothing"),
        (["csv"], "got csv"),
        (["sqlite", "where.attack=absent"], "matches no record"),
        (["sqlite", "where.colour=red"], "colour"),
        (["sqlite", "out=/proc/export/x.sqlite"], "not writable"),
        (["sqlite", "overwrite=perhaps"], "overwrite"),
    ],
)
def test_that_wrong_usage_is_refused_in_one_line(
    words: list[str], said: str, results: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *words, *([f"paths.results={results}"] if words else [])]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1
