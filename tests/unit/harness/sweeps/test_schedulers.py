"""Jobs of a sweep that a scheduler holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from frbench.harness.sweeps import schedulers
from tests.support.small_plans import small_folder


@dataclass
class Queue:
    """A scheduler that holds some jobs."""

    jobs: set[str]
    cancelled: list[str] = field(default_factory=list)

    def live(self, ids: Sequence[str]) -> set[str]:
        return self.jobs & set(ids)

    def cancel(self, ids: Sequence[str]) -> None:
        self.cancelled += ids


def test_that_only_jobs_of_the_sweep_that_are_alive_are_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue({"7_0", "7_1", "8_0"})
    monkeypatch.setattr(schedulers, "SCHEDULERS", {"queue": queue})
    folder = small_folder(tmp_path)
    folder.add_jobs({"launcher": "slurm", "scheduler": "queue", "ids": ["7_0", "7_1", "7_2"], "time": 0.0})
    folder.add_jobs({"launcher": "processes", "ids": ["8_0"], "time": 0.0})
    assert schedulers.live_jobs(folder) == {"7_0", "7_1"}
    assert schedulers.cancel_jobs(folder) == 2
    assert queue.cancelled == ["7_0", "7_1"]
