"""Threads come from the CPUs of the job."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from frbench.harness.runtime.threads import cpus, set_threads, set_threads_of_slurm_task


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
        monkeypatch.setenv(name, "1")  # so that the value before the test returns after it
        monkeypatch.delenv(name)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_slurm_task_has_as_many_threads_as_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    set_threads()
    assert torch.get_num_threads() == 3
    assert os.environ["OMP_NUM_THREADS"] == "3", "processes that this one starts have as many"


def test_outside_slurm_a_run_keeps_the_threads_that_pytorch_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    set_threads_of_slurm_task()
    assert torch.get_num_threads() == before
    assert "OMP_NUM_THREADS" not in os.environ
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    set_threads_of_slurm_task()
    assert torch.get_num_threads() == 2


def test_workers_share_the_cpus_that_their_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(12)), raising=False)
    assert [cpus(workers) for workers in (1, 4, 5, 100)] == [12, 3, 2, 1]


def test_the_number_that_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    before = torch.get_num_threads()
    set_threads()
    assert torch.get_num_threads() == before
