"""Tasks of a real Slurm that are signalled, run out of time, or are cancelled."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.slurm_cluster import SlurmCluster, wait_for
from support.toy_sweeps import ToySweep, toy_sweep

from frbench.harness.sweeps.launchers.slurm import Slurm
from frbench.harness.sweeps.plan import Wave

pytestmark = pytest.mark.slurm


def started(sweep: ToySweep, group: int = 0, times: int = 1) -> None:
    wait_for(lambda: len(sweep.starts(group)) == times, f"start {times} of group {group}")


def submitted(
    tmp_path: Path, steps: int, seconds: float, groups: int = 1, finish_s: int = 120
) -> tuple[ToySweep, list[str]]:
    """A sweep whose jobs have started, and their ids."""
    sweep = toy_sweep(tmp_path, {Wave.CELLS: range(groups)}, steps, seconds)
    Slurm(cpus_per_task=1, mem_gb=0.5, finish_s=finish_s).launch(sweep)
    for group in range(groups):
        started(sweep, group)
    return sweep, sweep.folder.jobs()[0]["ids"]


def test_that_a_task_near_its_time_limit_finishes_its_step_and_is_requeued(slurm: SlurmCluster, tmp_path: Path) -> None:
    """Slurm sends SIGUSR2 before the limit, and SIGTERM with it at a preemption."""
    sweep, (first, second) = submitted(tmp_path, steps=4, seconds=0.5, groups=2)
    slurm.run("scancel", "--signal=USR2", first)
    slurm.run("scancel", "--signal=TERM", second)
    slurm.wait_until_empty()
    assert sweep.made() == {0: 4, 1: 4}
    assert [len(sweep.starts(group)) for group in (0, 1)] == [2, 2]
    assert sweep.log(0).read_text().count("group 0\n") == 2  # one log of both starts


def test_that_a_task_whose_step_does_not_end_in_time_is_requeued_all_the_same(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    """The guard of the worker counts the starts; here a cancellation ends them."""
    sweep, (job,) = submitted(tmp_path, steps=1, seconds=3600, finish_s=2)
    slurm.run("scancel", "--signal=USR2", job)
    started(sweep, times=2)
    slurm.run("scancel", job)
    slurm.wait_until_empty()
    assert sweep.made() == {} and len(sweep.starts(0)) == 2


def test_that_a_cancelled_task_is_not_requeued(slurm: SlurmCluster, tmp_path: Path) -> None:
    sweep, (job,) = submitted(tmp_path, steps=100, seconds=0.2)
    slurm.run("scancel", job)
    slurm.wait_until_empty()
    assert len(sweep.starts(0)) == 1 and 0 < sweep.made()[0] < 100
    assert "which is not requeued here" in sweep.log(0).read_text()


def test_that_the_exit_code_of_the_command_is_that_of_the_task(slurm: SlurmCluster, tmp_path: Path) -> None:
    sweep = toy_sweep(tmp_path, {Wave.CELLS: [13]}, steps=1)
    Slurm(cpus_per_task=1, mem_gb=0.5).launch(sweep)
    slurm.wait_until_empty()
    (job,) = sweep.folder.jobs()[0]["ids"]
    assert "JobState=FAILED" in (shown := slurm.run("scontrol", "show", "job", job)) and "ExitCode=1:0" in shown
