"""``frbench compare`` writes a page."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.comparisons import two_runs
from support.fake_records import NAMES, FakeStore, with_pictures
from support.stored_cells import stored

from frbench.harness.cli.main import main


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The beginnings of the fingerprints of two paired runs and of a refused one, stored in ``results``."""
    fake = FakeStore()
    records = two_runs(fake, "none", "jpeg")
    records.append(fake.add(NAMES | {"defense": "pca"}, status="refused", reason="no gradient"))
    stored(with_pictures(fake), tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return [record["fingerprint"][:8] for record in records]


def test_that_the_page_has_the_pictures_and_the_pairs_of_both_runs(
    names: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, _ = names
    assert main(["compare", a, b]) == 0
    file = tmp_path / f"compare_{a}_{b}.html"
    assert capsys.readouterr().out.startswith(f"{file.name} (")
    text = file.read_text(encoding="utf-8")
    assert "data:image/webp" in text and "pairs flipped" in text


def test_that_a_refused_run_has_a_page_too_and_exit_code_2(
    names: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", names[0], names[2], "out=pages/diff.html"]) == 2
    assert "B was refused: no gradient" in (tmp_path / "pages" / "diff.html").read_text(encoding="utf-8")
    assert capsys.readouterr().err == "frbench: not compared pair by pair: B was refused: no gradient\n"


@pytest.mark.parametrize("out", ["out=diff.pdf", "out=results", "out=.html", "out=/proc/none/diff.html"])
def test_that_a_wrong_file_is_refused_in_one_line(
    names: list[str], out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *names[:2], out]) == 2
    assert capsys.readouterr().err.count("\n") == 1
