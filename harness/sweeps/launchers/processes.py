"""The launcher of several processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import torch

from frbench.harness.core.domains import NonNegativeInt
from frbench.harness.runtime.interrupts import EXIT_CODE
from frbench.harness.runtime.threads import cpus
from frbench.harness.sweeps.heartbeat import LOG
from frbench.harness.sweeps.launchers.base import Submission

_POLL = 0.2  # seconds
_GPUS = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Processes:
    """Evaluates the cells in several worker processes of this machine and waits for them.

    Attributes:
        workers: number of processes; 0 for one per GPU, or without GPUs one per two CPU cores.
        gpus: give each worker one of the GPUs, in turn.
    """

    workers: NonNegativeInt = 0
    gpus: bool = True

    waits = True
    cells_per_job = 1

    def launch(self, submission: Submission) -> int:
        """Start the workers and wait. A worker that is killed is not replaced: the others take its cells."""
        logs = submission.folder.logs
        logs.mkdir(parents=True, exist_ok=True)
        count = self._count()
        running: list[subprocess.Popen[bytes]] = []
        with _passing_on_signals(running):
            for number in range(count):
                log = logs / f"worker-{number}.log"
                environment = {**os.environ, **self._environment(number, count), LOG: str(log)}
                with log.open("ab") as file:
                    started = subprocess.Popen(submission.command(), stdout=file, stderr=file, env=environment)
                running.append(started)
            submission.note("processes", [str(each.pid) for each in running])
            while any(each.poll() is None for each in running):
                submission.show_progress()
                time.sleep(_POLL)
        codes = [_exit_code(each.returncode) for each in running]
        if EXIT_CODE in codes and submission.folder.stop is None:
            return EXIT_CODE  # after a signal
        return max([code for code in codes if code not in (0, EXIT_CODE)] or codes)

    def _count(self) -> int:
        return self.workers or torch.cuda.device_count() or cpus(2)

    def _environment(self, number: int, count: int) -> dict[str, str]:
        """The threads and the GPU of a worker; a number of threads that the user has set stays."""
        found = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(cpus(count))}
        visible = os.environ.get(_GPUS)
        names = visible.split(",") if visible else [str(each) for each in range(torch.cuda.device_count())]
        return {**found, _GPUS: names[number % len(names)]} if self.gpus and names else found


def _exit_code(code: int) -> int:
    """The exit code of a process; 128 + N of one that signal N killed."""
    return 128 - code if code < 0 else code


@contextmanager
def _passing_on_signals(processes: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Pass SIGTERM and SIGINT on to the workers as SIGTERM, after which they finish their blocks."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        for each in processes:
            if each.poll() is None:
                each.terminate()

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
