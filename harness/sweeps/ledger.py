"""The state of each cell of a sweep, derived from records, failures and heartbeats; a scheduler only adds detail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from frbench.harness.sweeps.finished import Finished
from frbench.harness.sweeps.heartbeat import is_fresh
from frbench.harness.sweeps.plan import PlannedCell
from frbench.harness.sweeps.sweep_folder import SweepFolder


class State(StrEnum):
    """The states of a cell."""

    DONE = "done"
    REFUSED = "refused"  # the combination cannot exist
    FAILED = "failed"  # crashed, bad input, or no progress
    RUNNING = "running"
    WAITING = "waiting"  # a job of the sweep has not started
    MISSING = "missing"


ENDED = (State.DONE, State.REFUSED, State.FAILED)


@dataclass(frozen=True)
class CellState:
    """The state of one cell.

    Attributes:
        cell: as planned.
        state: now.
        key: of its record, None if unknown.
        detail: the reason, or what its worker does now.
        log: output of its job.
    """

    cell: PlannedCell
    state: State
    key: str | None
    detail: str = ""
    log: str | None = None


@dataclass(frozen=True)
class Status:
    """The state of a sweep.

    Attributes:
        sweep: id.
        cells: in the order of the sweep.
        preparing: what workers do that evaluate no cell, such as the fit of a defense.
        per_hour: cells that ended per hour since the last submission; None if none did.
    """

    sweep: str
    cells: tuple[CellState, ...]
    preparing: tuple[str, ...]
    per_hour: float | None

    @property
    def counts(self) -> dict[State, int]:
        found = Counter(each.state for each in self.cells)
        return {state: found[state] for state in State}

    @property
    def unfinished(self) -> int:
        return sum(count for state, count in self.counts.items() if state not in ENDED)

    @property
    def active(self) -> bool:
        """Whether a cell runs, or a job waits or prepares."""
        return bool(self.counts[State.RUNNING] or self.counts[State.WAITING] or self.preparing)

    @property
    def hours_left(self) -> float | None:
        """Hours until the last cell ends at the present rate; None if unknown."""
        return self.unfinished / self.per_hour if self.per_hour and self.unfinished else None

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some failed, 3 some unfinished."""
        return 3 if self.unfinished else 1 if self.counts[State.FAILED] else 0


def status_of(folder: SweepFolder, finished: Mapping[str, Finished], live_jobs: Collection[str], now: float) -> Status:
    """The state of a sweep.

    Args:
        folder: of the sweep.
        finished: key -> record of each cell in the store that has one.
        live_jobs: ids of jobs of this sweep that wait or run.
        now: Unix time in seconds.
    """
    plan, failures, keys = folder.plan, folder.failures(), folder.keys()
    fresh = [beat for beat in folder.workers().values() if is_fresh(beat, now)]
    running = {beat["cell"]: beat for beat in fresh if beat["cell"]}
    waiting = bool(set(live_jobs) - {beat["job"] for beat in fresh})
    states, ends = [], []
    for cell in plan.cells:
        key = keys.get(cell.digest, cell.key)
        record = finished.get(key) if key else None
        if record is not None and record.status != "crashed":
            states.append(CellState(cell, State(record.status), key, record.reason))
            ends.append(record.time)
        elif cell.digest in failures:
            failure = failures[cell.digest]
            states.append(CellState(cell, State.FAILED, key, f"{failure.kind}: {failure.reason}", failure.log))
        elif cell.digest in running:
            beat = running[cell.digest]
            states.append(CellState(cell, State.RUNNING, key, _doing(beat), beat.get("log")))
        elif record is not None:
            states.append(CellState(cell, State.FAILED, key, f"crashed: {record.reason}"))
        else:
            states.append(CellState(cell, State.WAITING if waiting else State.MISSING, key))
    planned = {cell.digest for cell in plan.cells}
    preparing = tuple(_doing(beat) for beat in fresh if beat["cell"] not in planned)
    return Status(plan.id, tuple(states), preparing, _per_hour(folder, ends, now))


def _doing(beat: Mapping[str, Any]) -> str:
    where = beat.get("job") or f"{beat['host']} process {beat['pid']}"
    return f"{beat.get('activity') or 'starting'} ({where})"


def _per_hour(folder: SweepFolder, ends: list[float], now: float) -> float | None:
    submissions = folder.jobs()
    if not submissions:
        return None
    started = float(submissions[-1]["time"])
    count = sum(end >= started for end in ends)
    return count / max(now - started, 1.0) * 3600 if count else None
