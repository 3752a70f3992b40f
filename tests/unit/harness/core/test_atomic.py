"""A file that is written atomically is the old one or the new one, and nothing else stays in its folder."""

from __future__ import annotations

import errno
import os
import platform
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.file_systems import dead_process, small

from frbench.harness.core.atomic import create_atomically, remove_stale_temporaries, write_atomically
from frbench.harness.core.errors import DiskFull


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


@pytest.fixture(params=[0o022, 0o002, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("write", [write_atomically, create_atomically])
def test_a_file_has_the_rights_of_the_umask_whatever_the_library_sets(write, umask: int, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path / "file", lambda path: save_file({"a": np.zeros(2)}, path))
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("durable", [True, False])
def test_a_temporary_file_is_staged_elsewhere_and_leaves_nothing(durable: bool, tmp_path: Path) -> None:
    places = []

    def write(path: Path) -> None:
        places.append(path.parent)
        path.write_text("new")

    target, staging = tmp_path / "a" / "file", tmp_path / "tmp"
    write_atomically(target, write, durable=durable, staging=staging)
    assert places == [staging] and target.read_text() == "new"
    assert os.listdir(target.parent) == ["file"] and os.listdir(staging) == []


def test_staging_on_another_file_system_still_writes_the_file(tmp_path: Path) -> None:
    with small(tmp_path / "other", "1m"):
        write_atomically(tmp_path / "file", lambda path: path.write_text("new"), staging=tmp_path / "other")
        assert (tmp_path / "file").read_text() == "new" and os.listdir(tmp_path / "other") == []
    assert sorted(os.listdir(tmp_path)) == ["file", "other"]


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("write", [write_atomically, create_atomically])
def test_no_room_is_one_line_that_names_the_file(write, reason: int, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    def full(path: Path) -> None:
        path.write_text("half")
        raise OSError(reason, os.strerror(reason))

    with pytest.raises(DiskFull, match="make room") as error:
        write(tmp_path / "file", full)
    assert str(tmp_path / "file") in str(error.value) and "\n" not in str(error.value)
    assert os.listdir(tmp_path) == []


def test_temporary_files_of_dead_processes_and_old_ones_are_removed(tmp_path: Path) -> None:
    here, dead = platform.node(), dead_process()
    stale = [f".{here}-{dead}-a.tmp", ".old-host-1-a.tmp", ".unnamed.tmp"]
    alive = [f".{here}-{os.getpid()}-a.tmp", ".other-host-1-b.tmp", "file", ".hidden"]
    for name in (*stale, *alive):
        (tmp_path / name).write_text("x")
    (tmp_path / f".{here}-{dead}-folder.tmp").mkdir()
    for name in stale[1:]:
        os.utime(tmp_path / name, (0, 0))
    assert remove_stale_temporaries(tmp_path) == 4
    assert sorted(os.listdir(tmp_path)) == sorted(alive)
    assert remove_stale_temporaries(tmp_path / "missing") == 0
