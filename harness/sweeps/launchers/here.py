"""The launcher of one process: this one."""

from __future__ import annotations

import os
from dataclasses import dataclass

from frbench.harness.sweeps.launchers.base import Submission


@dataclass(frozen=True)
class Here:
    """Evaluates all cells in this process, one after the other."""

    waits = True
    cells_per_job = 1

    def launch(self, submission: Submission) -> int:
        """Run one worker in this process."""
        submission.note("here", [str(os.getpid())])
        return submission.work()
