"""What one task of a Slurm array does: run a command, and requeue the task where the command stopped after a signal.

Slurm signals a task before its time limit (SIGUSR2, see ``--signal``), at a preemption and at a cancellation (SIGTERM).
The command finishes what it is at and exits with code 75. Slurm requeues a preempted task only if it still runs when
Slurm kills it, and never after a time limit, so the task requeues itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from frbench.harness.runtime.interrupts import EXIT_CODE

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
_POLL = 1.0  # seconds


@dataclass
class SlurmTask:
    """Called by submitit in each task of an array.

    Attributes:
        command: its words.
        environment: variables for the command; ``{log}`` in a value is replaced by the path of the task's log.
        patience: seconds from SIGUSR2 until the task is requeued even if the command still runs; it loses its block.
    """

    command: tuple[str, ...]
    environment: dict[str, str]
    patience: float
    _asked: dict[int, float] = field(default_factory=dict)

    def __call__(self) -> None:
        """Run the command and leave with its exit code, without a result file of submitit."""
        sys.exit(self._run())

    def checkpoint(self) -> Any:
        """For submitit, which requeues the task if a signal comes before the command runs."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _run(self) -> int:
        from submitit import JobEnvironment

        log = str(JobEnvironment().paths.stdout)
        added = {name: value.format(log=log) for name, value in self.environment.items()}
        running: list[subprocess.Popen[bytes]] = []

        def pass_on(number: int, frame: FrameType | None) -> None:
            self._asked.setdefault(number, time.monotonic())
            for each in running:
                each.send_signal(number)

        for each in _SIGNALS:
            signal.signal(each, pass_on)
        running.append(subprocess.Popen(self.command, env={**os.environ, **added}))
        code = self._wait(running[0])
        running[0].kill()  # nothing if it has ended; a child that outlives the task may escape Slurm
        if self._asked and (code is None or code == EXIT_CODE or code < 0):
            return _requeue()
        return EXIT_CODE if code is None else 128 - code if code < 0 else code

    def _wait(self, command: subprocess.Popen[bytes]) -> int | None:
        """The exit code of the command; None if it still runs when the time limit is near."""
        while True:
            try:
                return command.wait(_POLL)
            except subprocess.TimeoutExpired:
                limit_is_near = [when for number, when in self._asked.items() if number != signal.SIGTERM]
                if limit_is_near and time.monotonic() - min(limit_is_near) > self.patience:
                    return None


def _requeue() -> int:
    """Requeue this task, unless it is being cancelled. The exit code of the task."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]
    state = _ask("squeue", "--noheader", "--jobs", job, "--format", "%T").stdout.strip()
    if state and state != "RUNNING":  # COMPLETING: cancelled, or killed at the time limit
        print(f"frbench: Slurm ends task {job} ({state}), which is not requeued here", flush=True)
        return EXIT_CODE
    print(f"frbench: requeuing task {job}", flush=True)
    said = _ask("scontrol", "requeue", job)
    if said.returncode:
        print(f"frbench: task {job} could not be requeued: {said.stderr.strip()}", file=sys.stderr, flush=True)
    return EXIT_CODE


def _ask(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
