"""What is left of a sweep to submit."""

from __future__ import annotations

from pathlib import Path

from frbench.harness.storage.result_store import ResultStore
from frbench.harness.sweeps.finished import Finished
from frbench.harness.sweeps.ledger import status_of
from frbench.harness.sweeps.plan import Wave
from frbench.harness.sweeps.submission import Retry, opened, remaining
from tests.support.small_plans import small_folder


def left(folder_results: Path, done: list[int], live: list[str]) -> dict[Wave, list[int]]:
    folder = small_folder(folder_results)
    folder.add_jobs({"launcher": "slurm", "ids": ["7_0", "7_1"], "groups": [2, 3], "time": 0.0})
    finished = {f"{number:064d}": Finished("done", "", 0.0) for number in done}
    return remaining(folder, status_of(folder, finished, live, 0.0), live)


def test_that_groups_with_a_missing_cell_remain_with_what_they_need(tmp_path: Path) -> None:
    assert left(tmp_path, [], []) == {Wave.FIT: [0], Wave.CLEAN: [1], Wave.CELLS: [2, 3]}
    assert left(tmp_path, [0, 1, 2], []) == {Wave.FIT: [0], Wave.CLEAN: [1], Wave.CELLS: [3]}


def test_that_the_same_command_forgets_starts_without_progress(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    folder.write_starts(folder.plan.cells[0], 2)
    again = opened(folder.plan, ResultStore(tmp_path), Retry.FAILED)
    assert again.starts(folder.plan.cells[0]) == 0


def test_that_nothing_remains_of_a_finished_sweep(tmp_path: Path) -> None:
    assert left(tmp_path, [0, 1, 2, 3], []) == {Wave.FIT: [], Wave.CLEAN: [], Wave.CELLS: []}


def test_that_groups_of_live_jobs_are_not_submitted_again(tmp_path: Path) -> None:
    assert left(tmp_path, [], ["7_1"])[Wave.CELLS] == [2]
    assert left(tmp_path, [], ["7_0", "7_1"]) == {Wave.FIT: [], Wave.CLEAN: [], Wave.CELLS: []}
