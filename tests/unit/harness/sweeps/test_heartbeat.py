"""The file that says what a worker does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from frbench.harness.runtime import activity, interrupts
from frbench.harness.sweeps.failures import Failure, FailureKind
from frbench.harness.sweeps.heartbeat import FRESH, LOG, Heartbeat, is_fresh, job_id
from frbench.harness.sweeps.sweep_folder import SweepFolder
from tests.support.small_plans import small_folder


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    with interrupts.handling_signals():
        yield


def work_until_stopped(folder: SweepFolder) -> None:
    """A worker whose sweep is cancelled; it looks for that between two blocks."""
    with Heartbeat(folder, interval=0.01).beating():
        folder.write_stop("frbench cancel")
        _wait()


def _wait() -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        interrupts.check()
        time.sleep(0.01)


def test_that_a_heartbeat_is_renewed_and_removed_at_the_end(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    with Heartbeat(folder, interval=0.01).beating() as heartbeat, activity.loop("attack"):
        heartbeat.starts(folder.plan.cells[1])
        activity.reached("attack", 64, 600)
        deadline = time.monotonic() + 20
        while folder.workers()[heartbeat.name]["activity"] != "attack 64 of 600" and time.monotonic() < deadline:
            time.sleep(0.01)
        (beat,) = folder.workers().values()
        assert beat["cell"] == "d1" and beat["activity"] == "attack 64 of 600"
        assert is_fresh(beat, time.time()) and not is_fresh(beat, time.time() + FRESH + 1)
    assert folder.workers() == {}


def test_that_the_file_stop_stops_the_worker_at_its_next_block(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    with pytest.raises(interrupts.Interrupted, match="frbench cancel"):
        work_until_stopped(folder)
    (beat,) = folder.workers().values()
    assert beat["state"] == "requeued" and not is_fresh(beat, time.time())


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "3"}, "9_3"),
        ({"JOB_ID": "5", "SGE_TASK_ID": "undefined"}, "5"),
        ({}, None),
    ],
)
def test_that_the_job_is_named_as_its_scheduler_names_it(
    variables: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "JOB_ID", "SGE_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert job_id() == expected


def test_that_a_failure_names_the_log_of_its_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOG, "logs/worker-1.log")
    assert Heartbeat(small_folder(tmp_path)).located(Failure(FailureKind.CRASHED, "x")).log == "logs/worker-1.log"
