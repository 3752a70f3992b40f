"""Submitting a sweep to a real Slurm: waves, arrays, and what remains if sbatch refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.slurm_cluster import MAX_ARRAY_SIZE, SlurmCluster
from support.toy_sweeps import toy_sweep

from frbench.harness.core.errors import FrbenchError
from frbench.harness.sweeps.launchers.slurm import Slurm
from frbench.harness.sweeps.plan import Wave

pytestmark = pytest.mark.slurm

SMALL = Slurm(cpus_per_task=1, mem_gb=0.5)


def test_that_the_groups_run_in_waves_in_arrays_that_the_site_allows(slurm: SlurmCluster, tmp_path: Path) -> None:
    count = MAX_ARRAY_SIZE + 2
    groups = range(1, count + 1)
    sweep = toy_sweep(tmp_path, {Wave.FIT: [0], Wave.CLEAN: [], Wave.CELLS: groups}, steps=1)
    assert SMALL.launch(sweep) == 0
    submissions = sweep.folder.jobs()
    assert [(each["wave"], len(each["ids"])) for each in submissions] == [
        ("fit", 1),
        ("cells", count - 2),
        ("cells", 2),
    ]
    assert [group for each in submissions for group in each["groups"]] == [0, *groups]
    assert set(slurm.queue()) == {job for each in submissions for job in each["ids"]}
    slurm.wait_until_empty()
    assert sweep.made() == dict.fromkeys((0, *groups), 1)
    fitted = float((sweep.files / "step-0-0").read_text())
    assert all(start > fitted for group in groups for start in sweep.starts(group))
    assert "group 3\n" in sweep.log(3).read_text()
    assert sweep.folder.logs.stat().st_mode & 0o777 == 0o700
    assert not list(sweep.folder.logs.glob("*_result.pkl"))


def test_that_a_refused_submission_says_what_sbatch_said_and_leaves_nothing(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    sweep = toy_sweep(tmp_path, {Wave.CELLS: [0, 1]})
    with pytest.raises(FrbenchError, match="Invalid partition name specified; nothing is submitted") as caught:
        Slurm(partition="moon").launch(sweep)
    assert "\n" not in str(caught.value)
    assert not slurm.queue() and not sweep.folder.jobs() and not list(sweep.folder.logs.iterdir())


def test_that_arrays_before_a_refused_one_are_noted_and_named(
    slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit on the jobs of a user refuses the second array."""
    refusing = tmp_path / "bin" / "sbatch"
    refusing.parent.mkdir()
    refusal = "sbatch: error: QOSMaxSubmitJobPerUserLimit"
    refusing.write_text(
        f'#!/bin/sh\n[ -e {tmp_path}/once ] && {{ echo "{refusal}" >&2; exit 1; }}\n'
        f'touch {tmp_path}/once\nexec {shutil.which("sbatch")} "$@"\n'
    )
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", str(refusing.parent), prepend=":")
    sweep = toy_sweep(tmp_path, {Wave.FIT: [0], Wave.CELLS: [1, 2]}, steps=1)
    with pytest.raises(FrbenchError) as caught:
        SMALL.launch(sweep)
    (submission,) = sweep.folder.jobs()
    assert f"QOSMaxSubmitJobPerUserLimit; arrays {submission['ids'][0]} are submitted" in str(caught.value)
    assert slurm.queue() == submission["ids"]
    slurm.wait_until_empty()
    assert sweep.made() == {0: 1}


def test_that_options_reach_sbatch(slurm: SlurmCluster, tmp_path: Path) -> None:
    sweep = toy_sweep(tmp_path, {Wave.CELLS: [0]}, steps=1)
    launcher = Slurm("low", None, 7, 1, 0.25, setup=["echo module loaded"], sbatch={"comment": "a b"}, finish_s=30)
    assert launcher.launch(sweep) == 0
    (job,) = slurm.queue()
    shown = slurm.run("scontrol", "show", "job", job)
    assert all(text in shown for text in ("Partition=low", "TimeLimit=00:07:00", "Requeue=1", "Comment=a b"))
    assert "mem=256M" in shown
    slurm.wait_until_empty()
    assert "module loaded" in sweep.log(0).read_text()


def test_that_a_machine_without_slurm_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FrbenchError, match="sbatch, srun, scontrol not found"):
        SMALL.launch(toy_sweep(tmp_path, {Wave.CELLS: [0]}))
