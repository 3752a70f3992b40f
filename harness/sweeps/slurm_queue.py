"""Slurm's commands, as far as frbench asks for jobs by itself: what waits or runs, cancelling, the size of arrays."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from frbench.harness.core.errors import FrbenchError

_REQUEST_SECONDS = 60
_PREFIX = re.compile(r"^\w+: (error: )?")


@dataclass(frozen=True)
class SlurmQueue:
    """The jobs of a Slurm cluster. Ids are ``123_4`` for a task of an array, ``123`` for a job without one."""

    def live(self, ids: Sequence[str]) -> set[str]:
        """Those of the jobs that wait or run, as ``squeue`` says; none where it does not answer."""
        if not ids or not shutil.which("squeue"):
            return set()
        arrays = ",".join(_arrays(ids))
        said = request("squeue", "--noheader", "--array", "--format", "%F_%K", "--jobs", arrays)
        return {line.strip().removesuffix("_N/A") for line in said.stdout.splitlines()} & set(ids)

    def cancel(self, ids: Sequence[str]) -> None:
        """Cancel the jobs with ``scancel``; those that have ended are ignored. Raises FrbenchError: Slurm refuses."""
        if not shutil.which("scancel"):
            raise FrbenchError("scancel not found; run frbench cancel on a login node of the Slurm cluster")
        said = request("scancel", *_arrays(ids)) if ids else None
        if said is not None and said.returncode:
            raise FrbenchError(f"scancel: {joined(said.stderr)}")


def max_array_size() -> int:
    """The most tasks of an array: ``MaxArraySize`` is above the largest index, which begins at 0.

    Raises FrbenchError: Slurm does not answer.
    """
    said = request("scontrol", "show", "config")
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", said.stdout, re.M)
    if not found:
        raise FrbenchError(f"scontrol show config: {joined(said.stderr) or 'no MaxArraySize'}; does Slurm run?")
    return max(1, int(found[1]))


def request(*command: str) -> subprocess.CompletedProcess[str]:
    """Run one of Slurm's commands. An answer that takes too long is a failure with exit code 1."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_REQUEST_SECONDS)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {_REQUEST_SECONDS} s")


def joined(text: str) -> str:
    """The lines of a message of Slurm as one, without the name of the program."""
    return "; ".join(_PREFIX.sub("", line.strip()) for line in text.splitlines() if line.strip())


def _arrays(ids: Sequence[str]) -> list[str]:
    """The arrays of tasks, each once."""
    return list(dict.fromkeys(each.partition("_")[0] for each in ids))
