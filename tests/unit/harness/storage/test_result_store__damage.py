"""A damaged file of the store is named, set aside and counts as missing, and its content can be made again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.file_systems import read_only

from frbench.harness.storage.result_store import SCHEMA, ResultStore
from frbench.harness.storage.sealed_files import UNSIGNED, sign

SCORES = pd.DataFrame({"index": [1, 2], "success": [True, False]})
IMAGES = {"probe": np.zeros((2, 4, 4, 3), np.uint8), "index": np.array([3, 5])}
ARRAYS = {"values": np.arange(5)}


def record(name: str, **changes: object) -> dict:
    return {"schema": SCHEMA, "fingerprint": name, "status": "done", "reason": None, "value": 0.1} | changes


def fill(store: ResultStore) -> None:
    """A cell with all its files, a cached array and an artifact."""
    store.write_scores("a", SCORES)
    store.write_sample_images("a", IMAGES)
    store.write_record(record("a"))
    store.get_or_make("kind", "key", lambda: ARRAYS)
    store.write_artifact("b", sign(b"{" + UNSIGNED.encode() + b"}"))


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "last byte": lambda data: data[:-1],
    "first bit": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "middle bit": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :],
    "other file": lambda data: b"PAR1 neither",
}
READ: dict[str, Callable[[ResultStore], object]] = {
    "runs/*.json": lambda store: store.record("a"),
    "scores/*.parquet": lambda store: store.scores("a"),
    "sample_images/*.zst": lambda store: store.sample_images("a"),
    "sample_images/images/*.zst": lambda store: store.sample_images("a"),
    "artifacts/*": lambda store: store.artifact_bytes("b"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("files", READ)
def test_a_damaged_file_counts_as_missing_and_is_set_aside(
    files: str, damage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = ResultStore(tmp_path)
    fill(store)
    before = store.record("a")
    (path,) = tmp_path.glob(files)
    whole = path.read_bytes()
    path.write_bytes(DAMAGE[damage](whole))
    assert READ[files](store) is None
    line, *more = capfd.readouterr().err.splitlines()
    assert str(path) in line and not more
    kept = tmp_path / "quarantine" / path.relative_to(tmp_path)
    assert not path.exists() and kept.read_bytes() == DAMAGE[damage](whole)
    if "artifacts" not in files:
        assert store.finished("a") is None, "the cell must run again"
    fill(store)
    assert path.read_bytes() == whole and store.finished("a") == before
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("files", [each for each in READ if "artifacts" not in each])
def test_a_cell_with_a_damaged_file_is_not_finished(files: str, damage: str, tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    fill(store)
    (path,) = tmp_path.glob(files)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert store.finished("a") is None
    assert (tmp_path / "quarantine" / path.relative_to(tmp_path)).exists()


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_cached_arrays_are_made_again(damage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = ResultStore(tmp_path)
    fill(store)
    (path,) = tmp_path.glob("cache/kind/*")
    whole = path.read_bytes()
    path.write_bytes(DAMAGE[damage](whole))
    found = store.get_or_make("kind", "key", lambda: ARRAYS)
    assert found.made and np.array_equal(found.arrays["values"], ARRAYS["values"]) and path.read_bytes() == whole
    assert str(path) in capfd.readouterr().err


def test_a_cell_misses_its_scores_and_not_the_sample_images_that_a_user_deleted(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    fill(store)
    for files in ("sample_images/images/*", "sample_images/*.zst"):
        for path in tmp_path.glob(files):
            path.unlink()
        assert store.finished("a") is not None and store.sample_images("a") is None
    next(tmp_path.glob("scores/*")).unlink()
    assert store.finished("a") is None


def test_a_record_without_a_checksum_or_with_another_value_is_damaged(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for change in ({"value": 0.2}, {"checksum": None}, {"checksum": "0" * 64}, {"more": 1}):
        written = store.write_record(record("a"))
        changed = {key: value for key, value in (written | change).items() if value is not None or key != "checksum"}
        (tmp_path / "runs" / "a.json").write_text(json.dumps(changed))
        assert store.record("a") is None, change
    assert len(list((tmp_path / "quarantine" / "runs").iterdir())) == 4


def test_a_flipped_bit_of_a_record_is_detected_or_changes_no_value(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    kept = store.write_record(record("a", value=0.30000000000000004, text="ä"))
    path = tmp_path / "runs" / "a.json"
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        assert store.record("a") in (None, kept)


def test_records_of_another_schema_are_counted_and_left_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = ResultStore(tmp_path)
    store.write_record(record("a"))
    for name, schema in (("b", 2), ("c", 2), ("d", 99)):
        (tmp_path / "runs" / f"{name}.json").write_text(json.dumps(record(name, schema=schema)))
    assert [each["fingerprint"] for each in store.records()] == ["a"]
    (line,) = capfd.readouterr().err.splitlines()
    assert re.search(r"2 of schema 2 \(.*\), 1 of schema 99 \(d\.json\)", line) and str(tmp_path / "runs") in line
    assert store.record("b") is None and store.finished("d") is None
    assert len(list((tmp_path / "runs").iterdir())) == 4 and not (tmp_path / "quarantine").exists()


def test_damaged_files_of_a_read_only_store_are_named_and_stay(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = ResultStore(tmp_path)
    fill(store)
    (path,) = tmp_path.glob("runs/*")
    path.write_bytes(path.read_bytes()[:-1])
    with read_only(tmp_path):
        assert store.records() == [] and store.finished("a") is None
        assert store.scores("a") is not None
    assert path.exists() and not (tmp_path / "quarantine").exists()
    (line,) = capfd.readouterr().err.splitlines()
    assert str(path) in line
