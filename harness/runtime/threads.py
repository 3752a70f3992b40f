"""The threads of a worker: as many as its job has CPUs, so that the jobs of one machine do not compete."""

from __future__ import annotations

import os

import torch

_OWN = "OMP_NUM_THREADS"  # set by the user: left alone
_SLURM = "SLURM_CPUS_PER_TASK"


def set_threads(workers: int = 1) -> int:
    """Set the threads of PyTorch, and of processes that this one starts, unless OMP_NUM_THREADS is set.

    Args:
        workers: processes that share the CPUs of this one, where Slurm does not say how many CPUs a task has.

    Returns:
        The number of threads.
    """
    if not os.environ.get(_OWN):
        count = cpus(workers)
        os.environ[_OWN] = str(count)
        torch.set_num_threads(count)
    return torch.get_num_threads()


def cpus(workers: int = 1) -> int:
    """The CPUs of one of ``workers`` processes: those of its Slurm task, else an equal part of those allowed here."""
    given = os.environ.get(_SLURM, "")
    if given.isdecimal() and int(given):
        return int(given)
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, allowed // workers)
