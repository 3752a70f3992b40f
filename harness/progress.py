"""Progress bars on standard error, with a rate and the time left; told ``(done, total)``, total None if unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

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

Report = Callable[[int, int | None], None]
T = TypeVar("T")


class RateColumn(ProgressColumn):
    """Items per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} {self.unit}/s")


def byte_bar(title: str) -> AbstractContextManager[Report]:
    """A bar that counts bytes."""
    return _bar(title, DownloadColumn(), TransferSpeedColumn())


def count_bar(title: str, unit: str) -> AbstractContextManager[Report]:
    """A bar that counts things, named by ``unit`` in the plural."""
    return _bar(title, MofNCompleteColumn(), RateColumn(unit))


def over(items: Sequence[T], title: str, unit: str, each: int) -> Iterator[T]:
    """``items`` under a bar that goes away when done; an item stands for ``each`` things named by ``unit``."""
    with _bar(title, MofNCompleteColumn(), RateColumn(unit), transient=True) as report:
        for done, item in enumerate(items, start=1):
            yield item
            report(done * each, len(items) * each)


@contextmanager
def _bar(title: str, *columns: ProgressColumn, transient: bool = False) -> Iterator[Report]:
    shown = (TextColumn("{task.description}", markup=False), BarColumn(), *columns, TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*shown, console=console, transient=transient, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
