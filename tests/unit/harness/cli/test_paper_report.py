from __future__ import annotations

from pathlib import Path

import pytest

from frbench.harness.cli.main import main
from frbench.harness.cli.paper_report import packaged_reasons, packaged_table
from frbench.harness.config.paper_files import paper_names


def test_that_a_table_is_printed_and_written_in_three_formats(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"paths.results={tmp_path / 'results'}", f"out={tmp_path / 'out'}"]
    assert main(["report", "paper=ensembles_accuracy", *words]) == 0
    printed = capsys.readouterr().out
    assert "| Single model" in printed
    assert "not run: frbench run experiment=paper/ensembles_accuracy size=small" in printed
    assert "4 not comparable, 8 not run" in printed
    written = sorted(path.name for path in (tmp_path / "out" / "tables").iterdir())
    assert written == [f"paper-ensembles_accuracy.{ending}" for ending in ("csv", "md", "tex")]
    assert (tmp_path / "out" / "tables" / written[1]).read_text("utf-8") in printed


def test_that_all_tables_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "paper=all", f"paths.results={tmp_path / 'results'}", f"out={tmp_path}"]) == 0
    assert {path.stem for path in (tmp_path / "tables").iterdir()} == {f"paper-{name}" for name in paper_names()}
    assert all(packaged_table(name).title in capsys.readouterr().out for name in paper_names()[:1])


def test_that_an_unknown_table_is_one_line_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "paper=nothing"]) == 2
    assert capsys.readouterr().err.startswith("frbench: unknown option paper=nothing; ")


def test_that_the_packaged_reasons_have_the_one_of_the_small_size() -> None:
    assert packaged_reasons()["small_size"].short == "small size"
