"""``frbench diff`` on records in a results folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.fake_records import NAMES, FakeStore, attacked
from support.stored_cells import stored

from frbench.harness.cli.main import main
from frbench.harness.storage.record_files import Record


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, dict[str, Record]]:
    """Two runs on the same pairs, one of the other goal, one refused."""
    fake = FakeStore()
    found: dict[str, Any] = {
        "none": attacked(fake, NAMES | {"defense": "none"}, 8.0, 0.6),
        "jpeg": attacked(fake, NAMES, 8.0, 0.4),
        "impersonation": attacked(fake, NAMES | {"goal": "impersonation"}, 8.0, 0.4),
        "refused": fake.add(NAMES | {"defense": "pca"}, status="refused", reason="pca has no gradient; take another"),
    }
    stored(fake, tmp_path)
    return tmp_path, found


def diff(runs: tuple[Path, dict[str, Record]], a: str, b: str, *more: str) -> int:
    folder, records = runs
    return main(["diff", *(records[each]["fingerprint"][:10] for each in (a, b)), f"paths.results={folder}", *more])


def test_that_two_paired_runs_are_compared(runs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert diff(runs, "none", "jpeg", "top=3") == 0
    out, err = capsys.readouterr()
    assert err == ""
    for fact in ("defense jpeg", "pairs are compared", "exact two-sided McNemar test", "pairs flipped", "3 are listed"):
        assert fact in out
    assert diff(runs, "none", "jpeg", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert f"{len(data['parts'][0]['flipped'])} pairs flipped" in out


@pytest.mark.parametrize(
    ("other", "expected"), [("impersonation", "no pair is in both"), ("refused", "B was refused: pca has no gradient")]
)
def test_that_other_runs_are_explained_in_one_line(
    runs: Any, other: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert diff(runs, "none", other) == 2
    out, err = capsys.readouterr()
    assert expected in err and err.count("\n") == 1
    assert "Differences between the runs" in out and "flipped" not in out
    assert diff(runs, "none", other, "--json") == 2
    assert expected in json.loads(capsys.readouterr().out)["obstacle"]


def test_that_a_run_of_another_results_folder_is_named_by_its_file(
    runs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, records = runs
    fake = FakeStore()
    other = attacked(fake, NAMES | {"defense": "blur"}, 8.0, 0.5)
    stored(fake, tmp_path / "other")
    file = tmp_path / "other" / "runs" / f"{other['fingerprint']}.json"
    assert main(["diff", records["none"]["fingerprint"], str(file), f"paths.results={folder}"]) == 0
    assert "blur" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["0123456789"], ["0123456789"] * 3, ["0123456789", "0123456789", "top=none"]])
def test_that_wrong_usage_is_one_line(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", *words, f"paths.results={tmp_path}"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("frbench: ")
