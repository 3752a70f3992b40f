"""The index says what the records say, whatever happened to it or to them."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.fake_records import sweep
from support.file_systems import read_only

from frbench.harness.storage import sealed_json
from frbench.harness.storage.result_store import ResultStore

Damage = Callable[[Path], object]


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    """A store of fabricated cells."""
    store, fake = ResultStore(tmp_path / "results"), sweep(attacks=("fgsm",), budgets=("linf_2",))
    for record in fake.records():
        for noun in ("measurements", "hyperparameters"):
            record[noun] = json.loads(json.dumps(record[noun]).replace("NaN", "null").replace("Infinity", '"inf"'))
        frame = fake.frames.get(record["fingerprint"])
        if frame is not None:
            store.write_scores(record["fingerprint"], frame)
        store.write_record(record)
    return store


def again(store: ResultStore) -> ResultStore:
    """The store, opened anew."""
    return ResultStore(store.root)


def reported(store: ResultStore) -> list[dict[str, Any]]:
    """What the files of the records say, without what reports do not need."""
    found = []
    for path in sorted((store.root / "runs").iterdir()):
        record = store.record(path.stem)
        if record is not None:
            found.append({key: value for key, value in record.items() if key != "checksum"})
    return found


def test_records_of_the_index_are_those_of_the_files(store: ResultStore) -> None:
    expected = reported(store)
    assert len(expected) == 13 and store.records() == expected
    assert (store.root / "index" / "records.parquet").exists()
    assert again(store).records() == expected


def test_the_config_stays_in_the_record(store: ResultStore) -> None:
    record = {key: value for key, value in reported(store)[0].items() if key not in ("checksum", "files")}
    store.write_record(record | {"card": {"config": {"a": 1}, "seconds": 2.5, "versions": {"torch": "2"}}})
    (found,) = (each for each in store.records() if each["fingerprint"] == record["fingerprint"])
    assert found["card"] == {"seconds": 2.5, "versions": {"torch": "2"}}


def test_only_changed_records_are_read_again(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.records()
    read = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read.append(path.name), read_bytes(path))[1])
    changed, gone, *_ = reported(store)
    del read[:]
    store.write_record(changed | {"status": "crashed", "reason": "bad", "files": None, "checksum": None})
    (store.root / "runs" / f"{gone['fingerprint']}.json").unlink()
    found = again(store).records()
    assert [name for name in read if name.endswith(".json")] == [f"{changed['fingerprint']}.json"]
    assert len(found) == 12 and found[0]["status"] == "crashed"
    assert gone["fingerprint"] not in {each["fingerprint"] for each in found}


def test_a_changed_record_of_the_same_size_and_time_is_read_again(store: ResultStore) -> None:
    store.records()
    record = reported(store)[0]
    path = store.root / "runs" / f"{record['fingerprint']}.json"
    before = path.stat()
    store.write_record({key: value for key, value in record.items() if key != "files"} | {"seed": 7})
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size and again(store).records()[0]["seed"] == 7


DAMAGE: dict[str, Damage] = {
    "deleted": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "flipped": lambda path: path.write_bytes(bytes([path.read_bytes()[0]]) + b"\x00" + path.read_bytes()[2:]),
    "other columns": lambda path: pd.DataFrame({"a": [1]}).to_parquet(path),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_or_deleted_index_is_made_again(damage: str, store: ResultStore) -> None:
    expected, keys = store.records(), store.finished_keys()
    DAMAGE[damage](store.root / "index" / "records.parquet")
    assert again(store).finished_keys() == keys and again(store).records() == expected


def test_a_read_only_folder_has_records_too(store: ResultStore) -> None:
    expected = reported(store)
    with read_only(store.root):
        assert store.records() == expected and len(store.finished_keys()) == 13
    assert not (store.root / "index").exists()


def test_a_damaged_record_is_set_aside_and_the_others_stay(store: ResultStore) -> None:
    store.records()
    path = sorted((store.root / "runs").iterdir())[3]
    path.write_bytes(path.read_bytes()[:-1])
    found = again(store)
    assert len(found.records()) == len(found.finished_keys()) == 12 and path.stem not in found.finished_keys()


def test_finished_keys_are_cells_with_a_record_and_their_scores(store: ResultStore) -> None:
    first, second, *_ = (each for each in reported(store) if each["files"])
    assert len(store.finished_keys()) == 13
    (store.root / "scores" / f"{first['fingerprint']}.parquet").unlink()
    store.write_record({key: value for key, value in second.items() if key != "files"} | {"status": "crashed"})
    expected = {each["fingerprint"] for each in reported(store)} - {first["fingerprint"], second["fingerprint"]}
    assert again(store).finished_keys() == expected
    assert {key for key in expected if store.finished(key)} == expected


def _refresh(root: Path, barrier, answers) -> None:  # type: ignore[no-untyped-def]
    barrier.wait()
    answers.put([each["fingerprint"] for each in ResultStore(root).records()])


def test_processes_that_refresh_at_once_find_the_same(store: ResultStore) -> None:
    fork = multiprocessing.get_context("fork")
    barrier, answers = fork.Barrier(4), fork.Queue()
    processes = [fork.Process(target=_refresh, args=(store.root, barrier, answers)) for _ in range(4)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert found == [[each["fingerprint"] for each in reported(store)]] * 4
    assert len(os.listdir(store.root / "tmp")) == 0


def test_an_empty_folder_has_no_records(tmp_path: Path) -> None:
    assert ResultStore(tmp_path).records() == [] and ResultStore(tmp_path).finished_keys() == set()
    assert not (tmp_path / "index").exists()


def test_finished_keys_need_no_torch(store: ResultStore) -> None:
    store.finished_keys()
    code = (
        "import sys; from pathlib import Path; from frbench.harness.storage.result_store import ResultStore\n"
        f"print(len(ResultStore(Path({str(store.root)!r})).finished_keys()), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["13", "False"]


def test_what_cannot_be_a_record_is_left_out_by_name_and_never_opened(
    store: ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of a gigabyte, a named pipe, which would block, and a record of a newer frbench."""
    runs = store.root / "runs"
    with (runs / "huge.json").open("wb") as file:
        file.truncate(2**30)
    os.mkfifo(runs / "pipe.json")
    (runs / "newer.json").write_text('{"schema": 99}')
    for _ in range(2):  # without and with an index
        found = again(store)
        assert len(found.records()) == 13
        assert found.index.left_out() == {
            "huge": "1074 MB, more than the 5 MB of the largest record",
            "newer": "schema 99",
        }
    assert (runs / "huge.json").stat().st_size == 2**30
    said = capsys.readouterr().err
    assert "1 of 1074 MB, more than the 5 MB of the largest record (huge.json), 1 of schema 99 (newer.json)" in said


def test_a_record_never_names_files_outside_its_folder(store: ResultStore) -> None:
    """Its fingerprint names scores and images, so it must be the name of its own file."""
    path = sorted((store.root / "runs").iterdir())[0]
    record = json.loads(path.read_text())
    for fingerprint in ("../../outside", "/etc/passwd", "0" * 64):
        path.write_bytes(sealed_json.written({**record, "fingerprint": fingerprint}))
        assert len(again(store).records()) == 12
        assert not path.exists()
