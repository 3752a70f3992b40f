"""Peak memory of a function, measured through /proc in a separate process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

_WIPE = Path("/proc/self/clear_refs")


def peak_growth(work: Callable[[], object]) -> float:
    """Peak resident memory in MiB during ``work()`` above the memory before."""
    _WIPE.write_text("5")  # resets the high-water mark
    before = _held("VmRSS")
    work()
    return _held("VmHWM") - before


def in_subprocess(script: str, words: Sequence[str]) -> float:
    """Run ``script`` in a subprocess and return the number that it prints last; NaN without /proc."""
    if not _WIPE.exists():
        return float("nan")
    done = subprocess.run([sys.executable, script, *words], stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[-1])


def _held(kind: str) -> float:
    """VmRSS (current) or VmHWM (peak since the last reset) in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024
