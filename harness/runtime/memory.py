"""What the C library does with freed memory."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # mallopt(3)
_MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Keep freed memory for the next tensor; whether the C library took the advice (glibc does, others need none).

    By itself glibc maps every block above 32 MiB anew and gives it back at once, and a large batch on a CPU, of
    training or of an attack, can spend half of its time on pages that the system clears. The memory of a process then
    stays at its peak.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    advise = ctypes.CDLL(None).mallopt
    return all([advise(_MMAP_MAX, 0), advise(_TRIM_THRESHOLD, _MOST), advise(_ARENA_MAX, 1)])


def give_back_freed_memory() -> None:
    """What is kept and free goes back to the system, for work whose tensors differ in size from step to step.

    There what was freed seldom fits what comes next, and the process grows: twice as large after twenty steps.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
