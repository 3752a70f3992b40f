"""What Slurm says about jobs, and cancelling them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.slurm_cluster import MAX_ARRAY_SIZE, SlurmCluster

from frbench.harness.core.errors import FrbenchError
from frbench.harness.sweeps.slurm_queue import SlurmQueue, max_array_size


def submitted(slurm: SlurmCluster, *words: str) -> str:
    return slurm.run("sbatch", "--parsable", "--output=/dev/null", *words, "--wrap=sleep 600").strip()


@pytest.mark.slurm
def test_that_live_jobs_are_those_of_ours_that_wait_or_run(slurm: SlurmCluster) -> None:
    queue = SlurmQueue()
    array, alone, foreign = submitted(slurm, "--array=0-2"), submitted(slurm), submitted(slurm)
    ours = [f"{array}_{number}" for number in range(3)] + [alone]
    assert queue.live([*ours, "4000000", "4000001_3"]) == set(ours)
    slurm.run("scancel", f"{array}_1")
    assert queue.live(ours) == set(ours) - {f"{array}_1"}
    queue.cancel(ours)
    assert not queue.live(ours) & set(slurm.queue("PENDING")) and foreign in slurm.queue()
    queue.cancel([*ours, foreign])  # some have ended
    slurm.wait_until_empty()
    assert queue.live(ours) == set() == queue.live(["4000000"])


@pytest.mark.slurm
def test_that_the_size_of_arrays_is_that_of_the_site(slurm: SlurmCluster) -> None:
    assert max_array_size() == MAX_ARRAY_SIZE


def test_that_without_slurm_no_job_lives_and_none_can_be_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert SlurmQueue().live(["1_0"]) == set()
    with pytest.raises(FrbenchError, match="scancel not found"):
        SlurmQueue().cancel(["1_0"])
