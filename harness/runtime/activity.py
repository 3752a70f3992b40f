"""What this process does now, for heartbeats, and how much work it has put into the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from frbench.harness.runtime import interrupts


@dataclass(frozen=True)
class Activity:
    """A long loop, as progress bars show it.

    Attributes:
        title: such as "attack" or "clean scores"; empty before the first loop.
        done, total: units finished, and in all; total is None where it is unknown.
        rate: units per second since the first report of this loop; None before the second.
        since: seconds since the epoch at which the loop began.
        kept: results that this process has put into the store so far, such as blocks of images. It only grows, and
            results that were found do not count: a process that starts twice and keeps nothing makes no progress.
    """

    title: str = ""
    done: int = 0
    total: int | None = None
    rate: float | None = None
    since: float = 0.0
    kept: int = 0


class _State:
    """Of the process. first: time and units of the first report of the loop that runs."""

    activity = Activity()
    first: tuple[float, int] | None = None
    on_kept: Callable[[], None] | None = None


_state = _State()


def current() -> Activity:
    """What the process does now. Any thread may ask."""
    return _state.activity


@contextmanager
def loop(title: str) -> Iterator[None]:
    """A loop within this block calls ``reached``. Afterwards the loop around it is the current one again."""
    outer, first = _state.activity, _state.first
    _state.activity, _state.first = Activity(title, since=time.time(), kept=outer.kept), None
    try:
        yield
    finally:
        _state.activity, _state.first = replace(outer, kept=_state.activity.kept), first


def reached(title: str, done: int, total: int | None) -> None:
    """The loop ``title`` has finished ``done`` of ``total`` units.

    Raises:
        Interrupted: a stop was requested.
    """
    now = time.monotonic()
    _state.first = _state.first or (now, done)
    then, before = _state.first
    rate = (done - before) / (now - then) if now > then and done > before else None
    _state.activity = replace(_state.activity, title=title, done=done, total=total, rate=rate)
    interrupts.check()


def kept() -> None:
    """One more result is in the store."""
    _state.activity = replace(_state.activity, kept=_state.activity.kept + 1)
    if _state.on_kept is not None:
        _state.on_kept()


def on_kept(listener: Callable[[], None] | None) -> None:
    """Call ``listener`` for each further result in the store, in place of the one before; None calls nothing."""
    _state.on_kept = listener
