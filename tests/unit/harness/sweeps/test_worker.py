"""A worker on a small sweep, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from frbench.harness.evaluation.cell import Cell
from frbench.harness.runtime import interrupts
from frbench.harness.storage.records import Record
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.sweeps.failures import Failure, FailureKind
from frbench.harness.sweeps.heartbeat import Heartbeat
from frbench.harness.sweeps.plan import PlannedCell
from frbench.harness.sweeps.submission import Retry, opened
from frbench.harness.sweeps.sweep_folder import SweepFolder
from frbench.harness.sweeps.worker import Controls, Worker
from tests.support.small_sweeps import FITTED, small_sweep


@dataclass
class Printed:
    """What a worker reports, as (number of the cell, what)."""

    lines: list[tuple[int, str]] = field(default_factory=list)

    def cell(self, planned: PlannedCell, record: Record, found: bool) -> None:
        self.lines.append((planned.number, "found" if found else record["status"]))

    def failure(self, planned: PlannedCell, failure: Failure) -> None:
        self.lines.append((planned.number, f"{failure.kind}: {failure.reason}"))


@dataclass
class Swept:
    """A planned sweep and what its workers printed."""

    folder: SweepFolder
    printed: Printed = field(default_factory=Printed)

    def work(self, group: int | None = None, **controls: Any) -> int:
        self.printed.lines.clear()
        store = ResultStore(self.folder.results)
        return Worker(self.folder, store, Heartbeat(self.folder), self.printed, Controls(**controls)).run(group)


def swept(results: Path, *words: str) -> Swept:
    sweep = small_sweep(results, *words)
    return Swept(opened(sweep.plan, sweep.store, Retry.FAILED))


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Requests to stop end with the test."""
    with interrupts.handling_signals():
        yield


def test_that_every_cell_is_done_once_and_found_the_next_time(tmp_path: Path) -> None:
    sweep = swept(tmp_path, "defense=none,blur", "goal=dodging,impersonation")
    assert sweep.work() == 0
    assert sorted(sweep.printed.lines) == [(number, "done") for number in range(4)]
    assert sweep.work() == 0
    assert sorted(sweep.printed.lines) == [(number, "found") for number in range(4)]
    left = [path for folder in ("workers", "starts", "failed") for path in (sweep.folder.root / folder).glob("*")]
    assert not left and not list((tmp_path / "leases").glob("*"))


def test_that_a_worker_takes_cells_of_other_groups_after_its_own(tmp_path: Path) -> None:
    sweep = swept(tmp_path, "defense=none", "goal=dodging,impersonation")
    last = len(sweep.folder.plan.groups) - 1
    assert sweep.work(last) == 0
    assert sweep.printed.lines == [(1, "done"), (0, "done")]
    assert sweep.work(last) == 0
    assert sweep.printed.lines == [(1, "found")], "finished cells of other groups are not read again"


def test_that_a_wrong_value_of_one_cell_is_kept_and_stops_no_other(tmp_path: Path) -> None:
    sweep = swept(tmp_path, "budget.radius=0.01,-1")
    assert sweep.work() == 2
    assert sweep.printed.lines[0] == (0, "done")
    assert "budget.radius" in sweep.printed.lines[1][1]
    assert {failure.kind for failure in sweep.folder.failures().values()} == {FailureKind.BAD_INPUT}
    assert sweep.work() == 0, "a cell that failed in this run is not tried again by another worker"
    assert sweep.printed.lines == [(0, "found")]


class Crash(Exception):
    """A bug in an attack."""


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """FGSM crashes at a radius of 2/255 and nowhere else."""
    from frbench.attacks.projected_gradient_descent import ProjectedDescent

    whole = ProjectedDescent.__call__

    def call(self: ProjectedDescent, view: Any, pairs: Any, goal: Any, budget: Any) -> Any:
        if budget.radius == 2 / 255:
            raise Crash("a bug")
        return whole(self, view, pairs, goal, budget)

    monkeypatch.setattr(ProjectedDescent, "__call__", call)


def test_that_a_crash_is_a_record_and_runs_again_with_the_same_command(tmp_path: Path, crashing: None) -> None:
    words = ("budget=linf_2,linf_4",)
    sweep = swept(tmp_path, *words)
    assert sweep.work() == 1
    assert sweep.printed.lines == [(0, "crashed"), (1, "done")]
    (failure,) = sweep.folder.failures().values()
    assert failure.kind is FailureKind.CRASHED and "a bug" in failure.reason
    assert sweep.work() == 0 and sweep.printed.lines == [(1, "found")]
    again = swept(tmp_path, *words)
    assert again.folder.id == sweep.folder.id and again.work() == 1
    assert again.printed.lines == [(0, "crashed"), (1, "found")]


def test_that_fail_fast_stops_at_the_first_failure(tmp_path: Path, crashing: None) -> None:
    sweep = swept(tmp_path, "budget=linf_2,linf_4")
    assert sweep.work(fail_fast=True) == 1
    assert sweep.printed.lines == [(0, "crashed")]
    assert "fail_fast=true" in str(sweep.folder.stop)
    assert swept(tmp_path, "budget=linf_2,linf_4").folder.stop is None, "the same command starts anew"


def test_that_a_cell_that_another_worker_evaluates_is_left_to_it(tmp_path: Path) -> None:
    sweep = swept(tmp_path, "goal=dodging,impersonation")
    store, (first, second) = ResultStore(tmp_path), sweep.folder.plan.cells
    groups = [group.number for group in sweep.folder.plan.groups if group.cells == (second.number,)]
    with store.lease(f"cell-{first.key}"):
        assert sweep.work(groups[-1]) == 0
    assert sweep.printed.lines == [(1, "done")]


def test_that_a_cell_without_progress_fails_with_advice(tmp_path: Path) -> None:
    sweep = swept(tmp_path, "goal=dodging,impersonation")
    sweep.folder.write_starts(sweep.folder.plan.cells[0], 2)
    assert sweep.work(timeout_min=30) == 1
    assert sweep.printed.lines[1] == (1, "done")
    assert "launcher.timeout_min=60" in sweep.printed.lines[0][1]


def test_that_a_request_to_stop_leaves_a_heartbeat_and_the_finished_cells(tmp_path: Path) -> None:
    sweep = swept(tmp_path, "goal=dodging,impersonation")
    interrupts.request("received SIGTERM")
    with pytest.raises(interrupts.Interrupted):
        sweep.work()
    (beat,) = sweep.folder.workers().values()
    assert beat["state"] == "requeued"


def built_defenses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the cells whose defense is fitted from now on; each fit crashes."""
    fitted: list[str] = []

    def crash(cell: Cell) -> Cell:
        fitted.append(cell.names["goal"])
        raise Crash("no memory")

    for module in ("frbench.harness.sweeps.worker.fitted", "frbench.harness.evaluation.cell.fitted"):
        monkeypatch.setattr(module, crash)
    return fitted


def test_that_a_fit_that_crashes_is_tried_once_and_every_cell_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = swept(tmp_path, *FITTED, "goal=dodging,impersonation")
    fits = built_defenses(monkeypatch)
    assert sweep.work() == 1
    assert fits == ["dodging"]
    assert sweep.printed.lines == [(0, "crashed"), (1, "crashed")]
    reasons = [failure.reason for failure in sweep.folder.failures().values()]
    assert len(reasons) == 3 and all("no memory" in reason for reason in reasons)


def test_that_images_go_when_no_cell_of_the_plan_needs_them(tmp_path: Path) -> None:
    sweep = swept(tmp_path, "defense=none,blur")
    images = tmp_path / "cache" / "adversarial"
    sweep.work(sweep.folder.plan.groups[-1].number, keep_images=False)
    assert not any(images.rglob("*.zst"))
    assert swept(tmp_path, "defense=none,blur").work(keep_images=False) == 0


def test_that_a_stopped_sweep_starts_no_further_cell(tmp_path: Path) -> None:
    sweep = swept(tmp_path, "goal=dodging,impersonation")
    sweep.folder.write_stop("frbench cancel")
    with pytest.raises(interrupts.Interrupted, match="frbench cancel"):
        sweep.work()
    assert not list((tmp_path / "runs").glob("*"))
