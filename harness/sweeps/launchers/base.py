"""What all launchers share: the jobs to start, and the Protocol."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from frbench.harness.core.errors import ConfigError
from frbench.harness.sweeps.plan import Wave
from frbench.harness.sweeps.sweep_folder import SweepFolder


@dataclass(frozen=True)
class Submission:
    """The jobs of a sweep.

    Attributes:
        folder: of the sweep.
        waves: numbers of the groups with unfinished work, by wave, in the order in which the waves must run.
        flags: words of ``frbench work`` besides the sweep and the group, such as ``fail_fast=true``.
        work: does all the work in this process and returns the exit code.
        show_progress: prints how far the sweep is, when that has changed.
    """

    folder: SweepFolder
    waves: Mapping[Wave, Sequence[int]]
    flags: Sequence[str]
    work: Callable[[], int]
    show_progress: Callable[[], None]

    def command(self, group: int | str | None = None) -> list[str]:
        """The command of the job of ``group``, a number or text such as ``$N``; None takes all groups in turn."""
        which = [] if group is None else ["--group", str(group)]
        results = f"paths.results={self.folder.results.absolute()}"
        return [sys.executable, "-m", "frbench.harness.cli.main", "work", self.folder.id, results, *self.flags, *which]

    def limited(self, minutes: int, finish_s: int) -> Submission:
        """The same jobs, which know their time limit.

        Raises ConfigError: the signal would come in the first half of their time.
        """
        if finish_s > minutes * 30:
            raise ConfigError(
                f"launcher.finish_s={finish_s} is more than half of launcher.timeout_min={minutes}; ask for more "
                f"minutes, or set launcher.finish_s={minutes * 30} or less"
            )
        return replace(self, flags=(*self.flags, f"timeout_min={minutes}"))

    def line(self, variable: str) -> str:
        """The command for a shell, with the group in a shell variable such as ``GROUP``."""
        return f'{shlex.join([*self.command(), "--group"])} "${variable}"'

    def note(self, launcher: str, ids: Sequence[str], groups: Sequence[int] = (), **facts: Any) -> None:
        """Note submitted jobs in the folder of the sweep.

        Args:
            launcher: its option.
            ids: of the jobs.
            groups: the group of each job; none for workers that take all groups.
            facts: such as the resources of a job, and ``scheduler``, see ``schedulers``.
        """
        noted = {"launcher": launcher, "ids": list(ids), "groups": list(groups), "time": time.time()}
        self.folder.add_jobs({**noted, **facts})


@runtime_checkable
class Launcher(Protocol):
    """Starts the jobs of a sweep: an option of the group ``launcher``.

    waits: whether ``launch`` returns when the jobs have ended; other launchers submit and return at once.
    cells_per_job: groups of fewer cells are put together.
    """

    @property
    def waits(self) -> bool: ...

    @property
    def cells_per_job(self) -> int: ...

    def launch(self, submission: Submission) -> int:
        """Start the jobs, and note them with ``Submission.note``. Returns the exit code.

        Raises FrbenchError: nothing was started.
        """
        ...
