"""The verbs that read the state of a sweep: status and cancel. They import no torch, so that they answer at once."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from frbench.harness.cli.summary_line import counted, duration
from frbench.harness.cli.sweep_words import parse
from frbench.harness.core.errors import ConfigError, warn_once
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.sweeps.finished import finished_records
from frbench.harness.sweeps.ledger import CellState, State, Status, status_of
from frbench.harness.sweeps.schedulers import cancel_jobs, live_jobs
from frbench.harness.sweeps.sweep_folder import SweepFolder, find_sweep, sweep_folders

_PERIOD = 5.0  # seconds between two looks at a sweep that runs elsewhere
_LISTED = 20  # cells of a state that are listed
_OTHERS = 5  # other sweeps that are named, the latest first


def status(words: Sequence[str]) -> int:
    """``frbench status [SWEEP]``: the state of each cell; 0 all done, 1 some failed, 3 some unfinished."""
    given = parse("status", words)
    folder = find_sweep(given.results, given.sweep)
    found = current_status(folder)
    if "--json" in given.flags:
        print(json.dumps(_json(folder, found)))
        return found.exit_code
    print(_text(folder, found))
    others = [each.id for each in sweep_folders(given.results) if each.id != folder.id]
    if given.sweep is None and others:
        print(f"other sweeps: {', '.join(others[: -_OTHERS - 1 : -1])}{', …' if len(others) > _OTHERS else ''}")
    return found.exit_code


def cancel(words: Sequence[str]) -> int:
    """``frbench cancel SWEEP``: stop its workers at the next block and cancel its jobs, no others."""
    given = parse("cancel", words)
    if given.sweep is None:
        raise ConfigError("frbench cancel needs the id of a sweep; frbench status shows the latest")
    folder = find_sweep(given.results, given.sweep)
    folder.write_stop("frbench cancel")
    count = cancel_jobs(folder)
    print(
        f"{folder.id}: {counted(count, 'job')} cancelled; workers stop at their next block, and finished work is kept"
    )
    return 0


def warn_of_failures(store: ResultStore) -> None:
    """Say on stderr which sweeps of a store have failed cells without a record, which no table can show."""
    folders, finished = sweep_folders(store.root), finished_records(store)
    for folder in folders if any(folder.failures() for folder in folders) else ():
        states = status_of(folder, finished, (), time.time()).cells
        lost = [each for each in states if each.state is State.FAILED and each.key not in finished]
        if lost:
            warn_once(
                f"{counted(len(lost), 'cell')} of {folder.id} failed without a record: frbench status {folder.id}"
            )


def current_status(folder: SweepFolder) -> Status:
    """The state of a sweep now."""
    return status_of(folder, finished_records(ResultStore(folder.results)), live_jobs(folder), time.time())


@dataclass
class Follower:
    """Prints how far a sweep is that runs elsewhere, a line for each change."""

    folder: SweepFolder
    _shown: str = ""
    _due: float = field(default=0.0)

    def show(self) -> None:
        """Print the state if it has changed; looks at most every few seconds."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _PERIOD
            line = status_line(current_status(self.folder))
            if line != self._shown:
                self._shown = line
                print(f"{self.folder.id}: {line}", flush=True)

    def follow(self) -> int:
        """Wait until no cell is running or waiting; the exit code of ``frbench status``."""
        while (now := current_status(self.folder)).active:
            self.show()
            time.sleep(_PERIOD)
        print(_text(self.folder, now))
        return now.exit_code


def status_line(status: Status) -> str:
    """Such as "6 done, 2 running, 16 waiting; 1.5 h left"."""
    counts = [f"{count} {state}" for state, count in status.counts.items() if count]
    left = "" if status.hours_left is None else f"; about {duration(status.hours_left)} left"
    return (", ".join(counts) or "no cells") + left


def _text(folder: SweepFolder, status: Status) -> str:
    lines = [f"{status.sweep}: {counted(len(status.cells), 'cell')}: {status_line(status)}"]
    if folder.stop is not None:
        lines.append(f"stopped: {folder.stop}; the same frbench run command continues")
    lines += [f"working: {each}" for each in status.preparing]
    for state in (State.FAILED, State.RUNNING, State.REFUSED):
        lines += _listed(folder, state, [each for each in status.cells if each.state is state])
    return "\n".join(lines)


def _listed(folder: SweepFolder, state: State, cells: Sequence[CellState]) -> list[str]:
    """The cells of one state with their details; refused ones by reason, because many share one."""
    if state is State.REFUSED:
        reasons = Counter(each.detail for each in cells)
        return [f"{state}: {counted(count, 'cell')}: {reason}" for reason, count in reasons.most_common(_LISTED)]
    lines = []
    for each in cells[:_LISTED]:
        log = f" (log: {each.log})" if each.log else ""
        lines.append(f"{state}: {' '.join(folder.plan.differing(each.cell)) or 'the cell'}: {each.detail}{log}")
    more = len(cells) - _LISTED
    return [*lines, *([f"{state}: {more} more; --json lists all"] if more > 0 else [])]


def _json(folder: SweepFolder, status: Status) -> dict[str, Any]:
    cells = [
        {
            "number": each.cell.number,
            "state": each.state,
            "words": folder.plan.differing(each.cell),
            "fingerprint": each.key,
            "detail": each.detail,
            "log": each.log,
        }
        for each in status.cells
    ]
    return {
        "sweep": status.sweep,
        "counts": status.counts,
        "hours_left": status.hours_left,
        "preparing": status.preparing,
        "stopped": folder.stop,
        "jobs": folder.jobs(),
        "cells": cells,
    }
