"""A damaged file is named once and moved over no other file."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.file_systems import read_only

from frbench.harness.core.quarantine import Damaged, place_of, set_aside


def test_damaged_files_and_folders_are_named_and_never_overwritten(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        (tmp_path / "a" / "folder").mkdir(parents=True)
        (tmp_path / "a" / "folder" / "inside").write_text(str(number))
        (tmp_path / "a" / "file").write_text(str(number))
        for name in ("file", "folder"):
            assert set_aside(tmp_path / "a" / name, tmp_path, Damaged(f"reason {number}"))
    kept = tmp_path / "quarantine" / "a"
    assert [(kept / name).read_text() for name in ("file", "file.1")] == ["0", "1"]
    assert [(kept / name / "inside").read_text() for name in ("folder", "folder.1")] == ["0", "1"]
    assert list((tmp_path / "a").iterdir()) == []
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 4 and all("reason" in line and "quarantine" in line for line in lines)


def test_a_file_that_another_process_set_aside_leaves_no_empty_place(tmp_path: Path) -> None:
    assert set_aside(tmp_path / "gone", tmp_path, "reason")
    assert not place_of(tmp_path / "gone", tmp_path).exists()


def test_a_damaged_file_of_a_read_only_folder_is_named_and_stays(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "store").mkdir()
    damaged = tmp_path / "store" / "file"
    damaged.write_text("x")
    with read_only(tmp_path / "store"):
        assert not set_aside(damaged, tmp_path / "store", "reason")
    assert damaged.read_text() == "x"
    (line,) = capfd.readouterr().err.splitlines()
    assert str(damaged) in line and "reason" in line
