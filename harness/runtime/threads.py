"""The threads of a worker: as many as its job has CPUs, so that the jobs of one machine do not compete."""

from __future__ import annotations

import os
import sys

_OWN = "OMP_NUM_THREADS"  # set by the user: left alone
_SLURM = "SLURM_CPUS_PER_TASK"


def set_threads(workers: int = 1) -> None:
    """Set the threads of this process and of those that it starts, unless OMP_NUM_THREADS is set.

    Args:
        workers: processes that share the CPUs of this one, where Slurm does not say how many CPUs a task has.
    """
    if not os.environ.get(_OWN):
        count = cpus(workers)
        os.environ[_OWN] = str(count)
        if "torch" in sys.modules:  # imported later, it reads the variable
            sys.modules["torch"].set_num_threads(count)


def set_threads_of_slurm_task() -> None:
    """As ``set_threads``, where Slurm says how many CPUs the task has; elsewhere nothing changes."""
    if _slurm_cpus():
        set_threads()


def cpus(workers: int = 1) -> int:
    """The CPUs of one of ``workers`` processes: those of its Slurm task, else an equal part of those allowed here."""
    if given := _slurm_cpus():
        return given
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, allowed // workers)


def _slurm_cpus() -> int:
    """The CPUs of this Slurm task; 0 where Slurm does not say."""
    given = os.environ.get(_SLURM, "")
    return int(given) if given.isdecimal() else 0
