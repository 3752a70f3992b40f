"""Tune glibc's malloc (keep freed memory for the next tensor, or return it) and the garbage collector."""

from __future__ import annotations

import ctypes
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # mallopt(3)
_MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Keep freed memory in the process for the next tensor; True if the C library supports it (glibc only).

    By default glibc maps every block above 32 MiB anew and unmaps it when freed, so that a large batch on a CPU can
    spend half of its time on page faults. With this setting the memory of the process stays at its peak.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    advise = ctypes.CDLL(None).mallopt
    return all([advise(_MMAP_MAX, 0), advise(_TRIM_THRESHOLD, _MOST), advise(_ARENA_MAX, 1)])


def give_back_freed_memory() -> None:
    """Return free memory to the system, for work whose tensor sizes differ from step to step.

    There a freed block seldom fits the next tensor, and the process grows (twofold after twenty steps, measured).
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Pause the search for reference cycles, whose time grows with the number of objects in memory."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
