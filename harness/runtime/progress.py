"""Progress on standard error: bars with rate and remaining time, or plain lines in the log of a batch job.

A ``Report`` is called with ``(done, total)``; ``total`` is None if unknown. Short jobs write no lines. A report is also
a border at which the process stops after a signal (see ``interrupts``), so call it where finished work is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from time import monotonic
from typing import TypeVar

from rich import filesize
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from frbench.harness.runtime import activity

Report = Callable[[int, int | None], None]
T = TypeVar("T")

# Seconds before the first line; between lines at least _INTERVAL, or _SHARE of the elapsed time if that is longer.
_FIRST, _INTERVAL, _SHARE = 30.0, 60.0, 0.1


class RateColumn(ProgressColumn):
    """Items per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{_count(speed)} {self.unit}/s")


class _Lines:
    """A ``Report`` that prints lines. ``number`` formats an amount, ``unit`` follows it."""

    def __init__(self, title: str, number: Callable[[float], str], unit: str) -> None:
        self.title, self.number, self.unit = title, number, unit
        self.started = monotonic()
        self.due = self.started + _FIRST
        self.done, self.printed = 0, False
        self.since: tuple[float, int] | None = None  # first report: resumed work does not start at zero

    def __call__(self, done: int, total: int | None) -> None:
        now, self.done = monotonic(), done
        self.since = self.since or (now, done)
        if now >= self.due:
            self.due = now + max(_INTERVAL, _SHARE * (now - self.started))
            self._print(self._state(now, total))

    def close(self) -> None:
        """Print that the work is done, if earlier lines were printed."""
        if self.printed:
            spent = timedelta(seconds=round(monotonic() - self.started))
            self._print(f"{self.number(self.done)}{self.unit}, done in {spent}")

    def _state(self, now: float, total: int | None) -> str:
        whole = "" if total is None else f" of {self.number(total)}"
        state = f"{self.number(self.done)}{whole}{self.unit}"
        then, before = self.since or (now, self.done)
        if now <= then or self.done <= before:
            return state
        rate = (self.done - before) / (now - then)
        left = "" if total is None else f", {timedelta(seconds=round((total - self.done) / rate))} left"
        return f"{state}, {self.number(rate)}{self.unit}/s{left}"

    def _print(self, text: str) -> None:
        self.printed = True
        print(f"{self.title}: {text}", file=sys.stderr, flush=True)


def byte_bar(title: str) -> AbstractContextManager[Report]:
    """A progress bar in bytes."""
    return _shown(_Lines(title, _size, ""), DownloadColumn(), TransferSpeedColumn())


def count_bar(title: str, unit: str, transient: bool = False) -> AbstractContextManager[Report]:
    """A progress bar in items, named by ``unit`` in the plural; a ``transient`` bar disappears when done."""
    return _shown(_Lines(title, _count, f" {unit}"), MofNCompleteColumn(), RateColumn(unit), transient=transient)


def over(items: Sequence[T], title: str, unit: str, each: int) -> Iterator[T]:
    """Iterate over ``items`` with a transient bar; each item counts as ``each`` units.

    A range with that step counts at most to its end.
    """
    total = items.stop if isinstance(items, range) and items.step == each else len(items) * each
    with count_bar(title, unit, transient=True) as report:
        for done, item in enumerate(items, start=1):
            yield item
            report(min(done * each, total), total)


@contextmanager
def _shown(lines: _Lines, *columns: ProgressColumn, transient: bool = False) -> Iterator[Report]:
    """A bar on a terminal, ``lines`` elsewhere."""
    console = Console(stderr=True)
    with activity.loop(lines.title):
        if not console.is_terminal:
            yield _observed(lines.title, lines)
            lines.close()
            return
        shown = (TextColumn("{task.description}", markup=False), BarColumn(), *columns, TimeRemainingColumn())
        with Progress(*shown, console=console, transient=transient) as bar:
            task = bar.add_task(lines.title, total=None)
            yield _observed(lines.title, lambda done, total: bar.update(task, completed=done, total=total))


def _observed(title: str, report: Report) -> Report:
    """``report``, which also updates the activity of the process."""

    def observed(done: int, total: int | None) -> None:
        report(done, total)
        activity.reached(title, done, total)

    return observed


def _count(amount: float) -> str:
    return f"{amount:,.{0 if amount >= 10 or amount == int(amount) else 2}f}"


def _size(amount: float) -> str:
    return filesize.decimal(round(amount))
