"""The launcher of several processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

from frbench.harness.core.atomic import disk_full_named
from frbench.harness.core.domains import NonNegativeInt
from frbench.harness.runtime.interrupts import EXIT_CODE
from frbench.harness.runtime.threads import cpus
from frbench.harness.sweeps.heartbeat import LOG
from frbench.harness.sweeps.launchers.base import Submission

_POLL = 0.2  # seconds
_CRASHED = 1  # exit code after a cell crashed; the state of the sweep says so
_MESSAGE = "frbench: "  # before each message on stderr
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
        running: list[_Worker] = []
        with _passing_on_signals(running):
            for number in range(self._count()):
                running.append(self._started(submission, number))
            submission.note("processes", [str(each.process.pid) for each in running])
            while any(each.process.poll() is None for each in running):
                submission.show_progress()
                time.sleep(_POLL)
        for reason in dict.fromkeys(each.reason for each in running if each.code not in (0, _CRASHED, EXIT_CODE)):
            print(f"frbench: {reason}", file=sys.stderr)
        codes = [each.code for each in running]
        if EXIT_CODE in codes and submission.folder.stop is None:
            return EXIT_CODE  # after a signal
        return max([code for code in codes if code not in (0, EXIT_CODE)] or codes)

    def _started(self, submission: Submission, number: int) -> _Worker:
        log = submission.folder.logs / f"worker-{number}.log"
        environment = {**os.environ, **self._environment(number, self._count()), LOG: str(log)}
        with disk_full_named(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as file:
                start = file.tell()
                process = subprocess.Popen(submission.command(), stdout=file, stderr=file, env=environment)
        return _Worker(process, log, start)

    def _count(self) -> int:
        return self.workers or torch.cuda.device_count() or cpus(2)

    def _environment(self, number: int, count: int) -> dict[str, str]:
        """The threads and the GPU of a worker; a number of threads that the user has set stays."""
        found = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(cpus(count))}
        visible = os.environ.get(_GPUS)
        names = visible.split(",") if visible else [str(each) for each in range(torch.cuda.device_count())]
        return {**found, _GPUS: names[number % len(names)]} if self.gpus and names else found


@dataclass(frozen=True)
class _Worker:
    """A worker process, and the file to which it appends its output from byte ``start`` on."""

    process: subprocess.Popen[bytes]
    log: Path
    start: int

    @property
    def code(self) -> int:
        """The exit code; 128 + N of a process that signal N killed."""
        code = self.process.returncode
        return 128 - code if code < 0 else code

    @property
    def reason(self) -> str:
        """Why the worker failed: the last message of frbench in its log."""
        lines = self.log.read_bytes()[self.start :].decode("utf-8", "replace").splitlines()
        said = [line.removeprefix(_MESSAGE) for line in lines if line.startswith(_MESSAGE)]
        return said[-1] if said else f"a worker ended with exit code {self.code}; its output is in {self.log}"


@contextmanager
def _passing_on_signals(workers: list[_Worker]) -> Iterator[None]:
    """Pass SIGTERM and SIGINT on to the workers as SIGTERM, after which they finish their blocks."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        for each in workers:
            if each.process.poll() is None:
                each.process.terminate()

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
