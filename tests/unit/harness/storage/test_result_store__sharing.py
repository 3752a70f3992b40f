"""Several processes and full disks: work is done once, files are whole, and nothing is left over."""

from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.file_systems import dead_process, small

from frbench.harness.core.atomic import temporary_name
from frbench.harness.core.errors import DiskFull, FrbenchError
from frbench.harness.storage import sealed_json
from frbench.harness.storage.result_store import SCHEMA, ResultStore

FORK = multiprocessing.get_context("fork")


def _make_images(root: Path, barrier, answers) -> None:  # type: ignore[no-untyped-def]
    def make() -> dict[str, np.ndarray]:
        time.sleep(0.2)
        return {"images": np.full((4, 3), float(block))}

    barrier.wait()
    made = []
    for block in range(3):
        found = ResultStore(root).get_or_make("adversarial", f"key/{block}", make)
        assert (found.arrays["images"] == block).all()
        made.append(found.made)
    answers.put(made)


def test_eight_processes_that_want_the_same_images_make_them_once(tmp_path: Path) -> None:
    barrier, answers = FORK.Barrier(8), FORK.Queue()
    processes = [FORK.Process(target=_make_images, args=(tmp_path, barrier, answers)) for _ in range(8)]
    for process in processes:
        process.start()
    made = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert np.sum(made, axis=0).tolist() == [1, 1, 1]
    assert os.listdir(tmp_path / "leases") == os.listdir(tmp_path / "tmp") == []


def test_cached_arrays_are_read_without_a_lease(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.get_or_make("kind", "key", lambda: {"values": np.arange(3)})
    with store.lease("kind-key"):
        assert not store.get_or_make("kind", "key", lambda: {"values": np.arange(4)}).made


def test_the_duration_of_leases_is_that_of_the_store(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    with store.lease("x"):
        assert sealed_json.read(tmp_path / "store.json") == {"layout": 1, "lease_seconds": 120.0}
    (tmp_path / "store.json").write_text('{"layout": 1, "lease_seconds": 7}')
    with ResultStore(tmp_path).lease("x"):
        assert "7.0" in (tmp_path / "leases" / "x.lease").read_text()


@pytest.mark.parametrize(
    ("text", "named"),
    [('{"layout": 2, "lease_seconds": 120}', "layout 2"), ('{"layout": 1, "lease_seconds": 0}', "positive")],
)
def test_settings_that_cannot_be_obeyed_are_one_line(text: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text(text)
    with pytest.raises(FrbenchError, match=named) as error, ResultStore(tmp_path).lease("x"):
        pass
    assert "store.json" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ['{"layout": 1}', "", '{"layout": 1, "lease_seconds": 7, "checksum": "0"}', "[]", "\xff"]
)
def test_damaged_settings_are_set_aside_and_written_again(
    text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "store.json"
    path.write_text(text, "latin-1")
    assert ResultStore(tmp_path).files.lease_seconds == 120.0
    assert sealed_json.read(path) == {"layout": 1, "lease_seconds": 120.0}
    assert f"{path} is damaged" in capfd.readouterr().err
    assert (tmp_path / "quarantine" / "store.json").read_text("latin-1") == text


def test_every_file_has_the_rights_of_the_umask(tmp_path: Path) -> None:
    store, before = ResultStore(tmp_path), os.umask(0o002)
    try:
        store.write_scores("a", pd.DataFrame({"index": [1]}))
        store.write_sample_images("a", {"probe": np.zeros((1, 4, 4, 3), np.uint8)})
        store.write_record({"schema": SCHEMA, "fingerprint": "a", "status": "done"})
        store.get_or_make("kind", "key", dict)
        store.write_artifact("b", b"x")
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 7
    assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in files} == {"0o664"}


def test_a_full_disk_is_one_line_and_the_store_works_when_there_is_room(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    with small(tmp_path / "disk", "5m"):
        root = tmp_path / "disk" / "results"
        store = ResultStore(root)
        filler = tmp_path / "disk" / "filler"
        filler.write_bytes(bytes(2 << 20))
        values = noise.integers(0, 256, 1 << 20, dtype=np.uint8)
        made = 0

        def fill() -> None:
            nonlocal made
            while made < 20:
                store.get_or_make("kind", str(made), lambda: {"values": values})
                made += 1

        with pytest.raises(DiskFull, match="make room") as error:
            fill()
        assert str(root / "cache") in str(error.value) and "\n" not in str(error.value)
        with pytest.raises(DiskFull, match=r"b\.json"):
            store.write_record({"schema": SCHEMA, "fingerprint": "b", "status": "done", "text": "x" * (2 << 20)})
        assert not [path for path in root.rglob("*") if path.name.endswith((".tmp", ".lease"))]
        filler.unlink()
        again = ResultStore(root)
        assert made >= 1 and not any(again.get_or_make("kind", str(each), dict).made for each in range(made))
        assert again.get_or_make("kind", str(made), lambda: {"values": values}).made
        again.write_record({"schema": SCHEMA, "fingerprint": "b", "status": "done"})
        assert again.finished("b") is not None


def test_temporary_files_of_dead_processes_are_removed(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    assert store.files.remove_stale_temporaries() == 0
    store.write_record({"schema": SCHEMA, "fingerprint": "a", "status": "done"})
    mine = temporary_name()
    for folder in ("tmp", "artifacts", "runs"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / mine).write_text("being written")
        (tmp_path / folder / mine.replace(f"-{os.getpid()}-", f"-{dead_process()}-")).write_text("left over")
    assert store.files.remove_stale_temporaries() == 3
    assert len(list(tmp_path.rglob("*.tmp"))) == 3 and store.record("a") is not None


HOLD = """
import os, sys
from pathlib import Path
from frbench.harness.storage import sealed_json
from frbench.harness.storage.result_store import ResultStore
with ResultStore(Path(sys.argv[1])).lease("cell-a"):
    os.kill(os.getpid(), 9)
"""


def test_leases_of_dead_processes_are_removed_and_others_stay(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", HOLD, str(tmp_path)], check=False)
    store = ResultStore(tmp_path)
    assert [path.name for path in (tmp_path / "leases").iterdir()] == ["cell-a.lease"]
    with store.lease("cell-b"):
        store.remove_left_overs()
        assert [path.name for path in (tmp_path / "leases").iterdir()] == ["cell-b.lease"]
