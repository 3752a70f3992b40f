"""Peak memory of a piece of work, as Linux counts it, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

_WIPE = Path("/proc/self/clear_refs")


def grown(work: Callable[[], object]) -> float:
    """MiB that this process held at most during ``work()`` above what it held before."""
    _WIPE.write_text("5")  # wipes the high-water mark, which loading has set
    before = _held("VmRSS")
    work()
    return _held("VmHWM") - before


def apart(script: str, words: Sequence[str]) -> float:
    """What ``script`` prints last, the ``grown`` of its work, in a process of its own; NaN where there is no /proc."""
    if not _WIPE.exists():
        return float("nan")
    done = subprocess.run([sys.executable, script, *words], stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[-1])


def _held(kind: str) -> float:
    """MiB: VmRSS now, VmHWM at most since the mark was last wiped."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024
