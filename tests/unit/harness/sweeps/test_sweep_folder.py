"""The files of a sweep."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from frbench.harness.core.errors import DataMissing
from frbench.harness.sweeps.failures import Failure, FailureKind
from frbench.harness.sweeps.sweep_folder import find_sweep, sweep_folders
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


def test_that_failures_of_the_chosen_kinds_are_forgotten_with_their_starts(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    first, second = folder.plan.cells[:2]
    folder.write_failure(first, Failure(FailureKind.CRASHED, "Traceback\nValueError: x"))
    folder.write_failure(second, Failure(FailureKind.BAD_INPUT, "no data"))
    folder.write_fit_failure(first, Failure(FailureKind.CRASHED, "fit"))
    folder.write_starts(first, 2)
    assert folder.failures()["d0"].reason == "ValueError: x"
    folder.clear_failures([FailureKind.CRASHED])
    assert list(folder.failures()) == ["d1"] and folder.starts(first) == 0
    assert folder.fit_failure(first) is None
