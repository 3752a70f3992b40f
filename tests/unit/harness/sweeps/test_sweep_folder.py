"""The files of a sweep."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from frbench.harness.core.errors import DataMissing
from frbench.harness.sweeps.failures import Failure, FailureKind
from frbench.harness.sweeps.sweep_folder import SweepFolder, find_sweep, sweep_folders
from tests.support.small_plans import small_folder, small_plan


def test_that_the_plan_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    small_folder(tmp_path, replace(small_plan(), id="sweep-9999"))
    assert find_sweep(tmp_path, "sweep-01").plan == folder.plan
    assert len(sweep_folders(tmp_path)) == 2
    with pytest.raises(DataMissing, match="more than one sweep .* sweep-"):
        find_sweep(tmp_path, "sweep")
    with pytest.raises(DataMissing, match="no sweep whose id begins with demo"):
        find_sweep(tmp_path, "demo")


def test_that_a_folder_without_sweeps_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="has no sweeps"):
        find_sweep(tmp_path, None)


def test_that_lines_of_several_writers_stay_whole(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    cells = [folder.plan.cells[number % 4] for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda cell: folder.add_key(cell, "k" * 64), cells))
    assert folder.keys() == {f"d{number}": "k" * 64 for number in range(4)}
    assert len((folder.root / "keys.jsonl").read_text().splitlines()) == 200


def test_that_a_line_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    folder.add_key(folder.plan.cells[0], "a")
    with (folder.root / "keys.jsonl").open("a") as file:
        file.write('{"cell": "d1", "ke')
    assert folder.keys() == {"d0": "a"}


def test_that_failures_of_the_chosen_kinds_are_forgotten(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    first, second = folder.plan.cells[:2]
    folder.write_failure(first, Failure(FailureKind.CRASHED, "Traceback\nValueError: x"))
    folder.write_failure(second, Failure(FailureKind.BAD_INPUT, "no data"))
    folder.write_fit_failure(first, Failure(FailureKind.CRASHED, "fit"))
    assert folder.failures()["d0"].reason == "ValueError: x"
    folder.clear_failures([FailureKind.CRASHED])
    assert list(folder.failures()) == ["d1"]
    assert folder.fit_failure(first) is None


def test_that_a_line_after_one_that_was_cut_is_whole(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = small_folder(tmp_path)
    folder.add_key(folder.plan.cells[0], "a")
    path = folder.root / "keys.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    folder.add_key(folder.plan.cells[1], "b")
    assert folder.keys() == {"d1": "b"}
    assert f"{path}, line 1, is damaged" in capfd.readouterr().err


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "bit": lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:],
    "not text": lambda data: data[:20] + b"\xff" + data[21:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_that_damaged_files_are_named_and_count_as_missing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes]
) -> None:
    folder = small_folder(tmp_path)
    cell, plan = folder.plan.cells[0], folder.plan
    folder.write_failure(cell, Failure(FailureKind.CRASHED, "a crash"))
    folder.write_starts(cell, 2)
    folder.write_heartbeat("host-1", {"state": "running", "cell": "d0"})
    folder.add_jobs({"launcher": "here", "ids": ["1"], "time": 0.0})
    paths = [path for path in folder.root.rglob("*") if path.is_file()]
    assert len(paths) == 6
    for path in paths:
        path.write_bytes(damage(path.read_bytes()))
    found = SweepFolder(folder.root)
    assert found.failures() == {} and found.failure(cell) is None and found.starts(cell) == 0
    assert found.workers() == {} and found.jobs() == [] and found.code == {}
    found.write_plan(plan, {"frbench": "0"})
    assert SweepFolder(folder.root).plan == plan
    said = capfd.readouterr().err
    for path in paths:
        assert f"{path} is damaged" in said or f"{path}, line" in said or not path.read_bytes(), path
