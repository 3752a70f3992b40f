"""A file that is written atomically is the old one or the new one, and nothing else stays in its folder."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from frbench.harness.core.atomic import create_atomically, write_atomically


def fail(path: Path) -> None:
    path.write_text("half")
    raise OSError("disk full")


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file"
    write_atomically(target, lambda path: path.write_text("old"))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(target, fail)
    assert target.read_text() == "old" and os.listdir(target.parent) == ["file"]


def test_a_write_replaces_the_old_file(tmp_path: Path) -> None:
    for text in ("old", "new"):
        write_atomically(tmp_path / "file", partial(Path.write_text, data=text))
    assert (tmp_path / "file").read_text() == "new" and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_never_replaces_another(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr("os.link", refuse)
    target = tmp_path / "file"
    create_atomically(target, lambda path: path.write_text("old"))
    with pytest.raises(FileExistsError):
        create_atomically(target, lambda path: path.write_text("new"))
    with pytest.raises(OSError, match="disk full"):
        create_atomically(tmp_path / "other", fail)
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["file"]
