"""Schedulers of clusters. They say which jobs of a sweep wait or run; the store says which cells are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from frbench.harness.sweeps.slurm_queue import SlurmQueue
from frbench.harness.sweeps.sweep_folder import SweepFolder


class Scheduler(Protocol):
    """Holds jobs until they start."""

    def live(self, ids: Sequence[str]) -> set[str]:
        """Those of the jobs that wait or run; none where the scheduler does not answer."""
        ...

    def cancel(self, ids: Sequence[str]) -> None:
        """Cancel the jobs. Raises FrbenchError: the scheduler refuses."""
        ...


SCHEDULERS: Mapping[str, Scheduler] = {"slurm": SlurmQueue()}


def live_jobs(folder: SweepFolder) -> set[str]:
    """Ids of the jobs of the sweep that wait or run."""
    return {job for name, ids in _jobs(folder).items() for job in SCHEDULERS[name].live(ids)}


def cancel_jobs(folder: SweepFolder) -> int:
    """Cancel the jobs of the sweep that wait or run, and no others. Returns their number."""
    live = {name: sorted(SCHEDULERS[name].live(ids)) for name, ids in _jobs(folder).items()}
    for name, ids in live.items():
        if ids:
            SCHEDULERS[name].cancel(ids)
    return sum(map(len, live.values()))


def _jobs(folder: SweepFolder) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for submission in folder.jobs():
        if submission.get("scheduler") in SCHEDULERS:
            found.setdefault(submission["scheduler"], []).extend(submission["ids"])
    return found
