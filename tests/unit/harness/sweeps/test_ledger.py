"""The state of each cell, from records, failures and heartbeats."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from support.file_systems import dead_process

from frbench.harness.sweeps.failures import Failure, FailureKind
from frbench.harness.sweeps.finished import Finished
from frbench.harness.sweeps.heartbeat import FRESH
from frbench.harness.sweeps.ledger import State, Status, status_of
from frbench.harness.sweeps.sweep_folder import SweepFolder
from tests.support.small_plans import small_folder

NOW = 1_800_000_000.0


def beat(folder: SweepFolder, cell: str, age: float = 0.0, job: str | None = None, state: str = "running") -> None:
    facts = {"state": state, "time": NOW - age, "cell": cell, "since": NOW - age, "activity": "attack 64 of 600, 3.1/s"}
    folder.write_heartbeat(f"host-{cell}", {**facts, "host": "host", "pid": 1, "job": job, "log": "worker.log"})


def finished(number: int, status: str = "done", reason: str = "") -> dict[str, Finished]:
    return {f"{number:064d}": Finished(status, reason, NOW - 60)}


def states(found: Status) -> list[State]:
    return [each.state for each in found.cells]


def test_that_a_record_comes_before_a_failure_and_a_failure_before_a_heartbeat(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    failure = Failure(FailureKind.BAD_INPUT, "no such file", log="worker-3.log")
    for number in (0, 1):
        folder.write_failure(folder.plan.cells[number], failure)
        beat(folder, f"d{number}")
    beat(folder, "d2")
    found = status_of(folder, finished(0), (), NOW)
    assert states(found) == [State.DONE, State.FAILED, State.RUNNING, State.MISSING]
    assert found.cells[1].detail == "bad input: no such file" and found.cells[1].log == "worker-3.log"
    assert found.cells[2].detail == "attack 64 of 600, 3.1/s (host process 1)"
    assert found.exit_code == 3 and found.active


def test_that_a_worker_without_a_fresh_heartbeat_is_lost(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    beat(folder, "d0", age=FRESH + 1)
    beat(folder, "d1", state="requeued")
    found = status_of(folder, {}, (), NOW)
    assert states(found) == [State.MISSING] * 4 and not found.active


def test_that_cells_wait_while_a_job_has_not_started(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    beat(folder, "d0", job="7_0")
    assert states(status_of(folder, {}, ["7_0"], NOW)) == [State.RUNNING, *[State.MISSING] * 3]
    assert states(status_of(folder, {}, ["7_0", "7_1"], NOW)) == [State.RUNNING, *[State.WAITING] * 3]


def test_that_a_crashed_record_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    refused, crashed = finished(1, "refused", "needs gradients"), finished(2, "crashed", "ValueError: x")
    ends = {**finished(0), **refused, **crashed, **finished(3)}
    found = status_of(folder, ends, (), NOW)
    assert states(found) == [State.DONE, State.REFUSED, State.FAILED, State.DONE]
    assert found.cells[2].detail == "crashed: ValueError: x" and found.cells[1].detail == "needs gradients"
    assert found.exit_code == 1 and found.unfinished == 0


def test_that_the_key_a_worker_computed_replaces_the_planned_one(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    folder.add_key(folder.plan.cells[0], f"{9:064d}")
    assert states(status_of(folder, finished(9), (), NOW))[0] is State.DONE


def test_that_the_time_left_follows_from_the_cells_since_the_submission(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    assert status_of(folder, finished(0), (), NOW).hours_left is None
    folder.add_jobs({"launcher": "processes", "ids": [], "time": NOW - 1800})
    found = status_of(folder, {**finished(0), **finished(1)}, (), NOW)
    assert found.per_hour == 4 and found.hours_left == 0.5
    assert status_of(folder, {key: each for n in range(4) for key, each in finished(n).items()}, (), NOW).exit_code == 0


def test_that_a_dead_process_of_this_host_is_lost_at_once(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    facts = {"state": "running", "time": NOW, "since": NOW, "activity": None, "job": None, "log": None}
    host = socket.gethostname()
    folder.write_heartbeat("dead", {**facts, "cell": "d0", "host": host, "pid": dead_process()})
    folder.write_heartbeat("alive", {**facts, "cell": "d1", "host": host, "pid": os.getpid()})
    folder.write_heartbeat("elsewhere", {**facts, "cell": "d2", "host": f"not-{host}", "pid": dead_process()})
    running = [State.MISSING, State.RUNNING, State.RUNNING, State.MISSING]
    assert states(status_of(folder, {}, (), NOW)) == running
