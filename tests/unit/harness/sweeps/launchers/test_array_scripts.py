"""Heads of array scripts: what each scheduler is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from frbench.harness.sweeps.launchers.array_scripts import ARRAY_SCRIPTS, Resources

JOB = Resources("frbench-demo-1a2b3c4d", Path("/r/logs"), 90, 4, 6000, 2, 120)
ASKED = {
    "slurm": ("#SBATCH --time=90", "--cpus-per-task=4", "--mem=6000M", "--gpus-per-node=2", "--signal=B:USR2@120"),
    "pbs": ("#PBS -l walltime=01:30:00", "ncpus=4", "mem=6000mb", "ngpus=2", "-N frbench-demo-1a"),
    "sge": ("#$ -l h_rt=01:30:00", "-pe smp 4", "h_vmem=1500M", "gpu=2", "-l s_rt=01:28:00"),
    "lsf": ("#BSUB -W 90", "-n 4", "-M 6000MB", 'num=2"', "-wt 2", '-Q "75"'),
}


@pytest.mark.parametrize("scheduler", ARRAY_SCRIPTS)
def test_that_the_head_asks_for_the_resources_of_a_job(scheduler: str) -> None:
    lines = ARRAY_SCRIPTS[scheduler].header(JOB)
    text = "\n".join(lines)
    assert all(asked in text for asked in ASKED[scheduler])
    assert all(line.startswith("#") for line in lines)


@pytest.mark.parametrize("scheduler", ARRAY_SCRIPTS)
def test_that_what_is_not_asked_for_is_left_to_the_site(scheduler: str) -> None:
    asked = ARRAY_SCRIPTS[scheduler].header(replace(JOB, memory_mb=None, gpus=0))
    assert not any(word in "\n".join(asked) for word in ("mem", "-M", "gpu"))
