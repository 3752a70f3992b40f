"""The launcher of a running Ray cluster: a Ray task for each group of cells, which meet in the store alone."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frbench.harness.core.domains import NonNegative, Positive, PositiveInt
from frbench.harness.core.errors import FrbenchError
from frbench.harness.runtime.interrupts import EXIT_CODE
from frbench.harness.sweeps.heartbeat import LOG
from frbench.harness.sweeps.launchers.base import Submission

_POLL = 1.0  # seconds
_PR_SET_PDEATHSIG = 1  # of prctl(2)


@dataclass(frozen=True)
class Ray:
    """Runs the groups of a sweep as tasks of a Ray cluster and waits. Ray repeats the tasks of a machine that is lost.

    Attributes:
        address: of the cluster; ``auto`` finds the one of this machine.
        cpus_per_task: CPU cores of a task.
        gpus_per_task: GPUs of a task; 0.5 lets two tasks share one.
        cells_per_job: groups of fewer cells are put together.
    """

    address: str = "auto"
    cpus_per_task: Positive = 1.0
    gpus_per_task: NonNegative = 0.0
    cells_per_job: PositiveInt = 4

    waits = True
    timeout_min = None

    def launch(self, submission: Submission) -> int:
        """Run the waves one after the other. The exit code is the largest of the tasks'."""
        ray = self._connect()
        try:
            remote = ray.remote(max_retries=-1, num_cpus=self.cpus_per_task, num_gpus=self.gpus_per_task)(run_command)
            submission.note("ray", [], address=self.address)
            codes = [0]
            for groups in submission.waves.values():
                codes += self._wave(ray, remote, submission, groups)
            return max(codes)
        finally:
            ray.shutdown()

    def _connect(self) -> Any:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when ray is imported
        try:
            import ray
        except ImportError as error:
            raise FrbenchError('launcher=ray needs Ray; install it: pip install "frbench[ray]"') from error
        try:
            ray.init(address=self.address, logging_level=logging.ERROR, log_to_driver=False)
        except ConnectionError as error:
            raise FrbenchError(f"no Ray cluster at launcher.address={self.address}; start one: ray start") from error
        return ray

    def _wave(self, ray: Any, remote: Any, submission: Submission, groups: Sequence[int]) -> list[int]:
        """The exit codes of the groups. A task that a signal stopped runs again, unless the sweep is stopped."""
        logs = submission.folder.logs.absolute()

        def start(group: int) -> Any:
            return remote.remote(submission.command(group), str(logs / f"group-{group}.log"))

        running = {start(group): group for group in groups}
        codes = []
        while running:
            ended, _ = ray.wait(list(running), timeout=_POLL)
            submission.show_progress()
            for each in ended:
                group, code = running.pop(each), ray.get(each)
                if code == EXIT_CODE and submission.folder.stop is None:
                    running[start(group)] = group
                else:
                    codes.append(code)
        return codes


def run_command(words: Sequence[str], log: str) -> int:
    """Run a command in a task of Ray, append its output to ``log``, and return its exit code.

    Ray kills the process of a task with SIGKILL, for example when its machine leaves the cluster. The command then gets
    SIGTERM and finishes its block.
    """
    path = Path(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, LOG: log, "PYTHONUNBUFFERED": "1"}
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def end_with_parent() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    with path.open("ab") as file:
        done = subprocess.run(words, stdout=file, stderr=file, env=environment, check=False, preexec_fn=end_with_parent)
    return 128 - done.returncode if done.returncode < 0 else done.returncode
