"""Files below the root of a store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from frbench.harness.core.errors import ConfigError, FrbenchError
from frbench.harness.core.quarantine import Damaged
from frbench.harness.storage.store_files import StoreFiles, states_of


def test_that_all_processes_obey_the_duration_in_the_settings(tmp_path: Path) -> None:
    assert StoreFiles(tmp_path).lease_seconds == 120
    settings = json.loads((tmp_path / "store.json").read_text())
    (tmp_path / "store.json").write_text(json.dumps({"layout": settings["layout"], "lease_seconds": 6}))
    assert StoreFiles(tmp_path).lease_seconds == 6


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"layout": 99, "lease_seconds": 6}, FrbenchError, "has layout 99"),
        ({"layout": 1, "lease_seconds": 0}, ConfigError, "lease_seconds=0.0 must be positive"),
    ],
)
def test_that_settings_that_cannot_be_obeyed_are_refused(
    settings: dict[str, float], error: type[Exception], words: str, tmp_path: Path
) -> None:
    (tmp_path / "store.json").write_text(json.dumps(settings))
    with pytest.raises(error, match=words):
        _ = StoreFiles(tmp_path).lease_seconds


def test_that_a_damaged_file_counts_as_missing_and_is_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, path = StoreFiles(tmp_path), tmp_path / "runs" / "a.json"

    def refuse(path: Path) -> None:
        raise Damaged("no")

    assert files.read(path, Path.read_bytes) is None
    files.write(path, b"1")
    assert files.read(path, Path.read_bytes) == b"1"
    assert files.read(path, refuse) is None
    assert not path.exists() and files.was_set_aside(path)
    assert str(path) in capsys.readouterr().err
    files.write(path, b"2")
    assert not files.was_set_aside(path)


def test_that_a_replaced_file_has_another_state(tmp_path: Path) -> None:
    files, path = StoreFiles(tmp_path), tmp_path / "runs" / "a.json"
    files.write(path, b"1")
    before = states_of(tmp_path / "runs", ".json")
    files.write(path, b"2")
    assert list(before) == ["a"] and before != states_of(tmp_path / "runs", ".json")
    assert states_of(tmp_path / "nowhere", ".json") == {}
