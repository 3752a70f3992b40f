"""A real Slurm of two nodes for tests, started by ``scripts/local_slurm.py``; every wait ends by itself."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
MAX_ARRAY_SIZE = 8


def local_slurm() -> ModuleType:
    """The script as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        return importlib.import_module("local_slurm")


def wait_for(condition: Callable[[], object], what: str, seconds: float = 90) -> None:
    """Returns when ``condition`` holds; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)


@dataclass(frozen=True)
class SlurmCluster:
    """A running Slurm, which ``SLURM_CONF`` of this process names."""

    folder: Path

    def run(self, *command: str) -> str:
        """What one of Slurm's commands prints."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def queue(self, state: str = "") -> list[str]:
        """Ids of the jobs that wait or run, in one ``state`` or all."""
        words = ["squeue", "--noheader", "--array", "--format", "%F_%K %T"]
        jobs = [line.split() for line in self.run(*words).splitlines()]
        return [job.removesuffix("_N/A") for job, found in jobs if state in ("", found)]

    def wait_until_empty(self, seconds: float = 90) -> None:
        wait_for(lambda: not self.queue(), "the end of all jobs", seconds)

    def cancel_all(self) -> None:
        """Cancel what a failed test left, and wait until the nodes are idle."""
        if jobs := self.queue():
            self.run("scancel", *jobs)
        wait_for(lambda: not self.queue() and self.node_states() == ["idle", "idle"], "two idle nodes")

    def node_states(self) -> list[str]:
        return list(local_slurm().node_states(self.folder))


@contextmanager
def running_slurm(folder: Path) -> Iterator[SlurmCluster]:
    """A Slurm with two idle nodes; a skip with the reason where Slurm is not installed."""
    script = local_slurm()
    missing = [name for name in script.PROGRAMS if not shutil.which(name, path=script.search_path())]
    if missing:
        pytest.skip(f"{', '.join(missing)} not found; to run the tests marked slurm: {script.INSTALL}")
    pytest.importorskip("submitit", reason='to run the tests marked slurm: pip install -e ".[slurm]"')
    words = ["up", "--folder", str(folder), "--max-array-size", str(MAX_ARRAY_SIZE)]
    command = [sys.executable, str(SCRIPTS / "local_slurm.py"), *words]
    started = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert started.returncode == 0, started.stderr
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
            cluster = SlurmCluster(folder)
            assert cluster.node_states() == ["idle", "idle"]
            yield cluster
    finally:
        assert script.main(["down", "--folder", str(folder)]) == 0
