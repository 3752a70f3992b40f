"""Stops long work at its borders after SIGTERM, SIGUSR1 or SIGUSR2, as batch systems send them before they kill a job.

Loops call ``check`` between two pieces of work, and everything that is finished is kept; so does a process that waits
for the lease of another. Ctrl-C still interrupts at
once with ``KeyboardInterrupt``.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from frbench.harness.core import leases

_SIGNALS = ("SIGTERM", "SIGUSR1", "SIGUSR2")  # Windows has the first alone
EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: run the same command again


class Interrupted(BaseException):
    """The work stopped at a border after a signal. Not an ``Exception``, so that no handler records it as a crash."""


class _State:
    """Of the process. reason: why it stops, None while it runs on. deferred: depth of ``deferred``."""

    handling = False
    reason: str | None = None
    deferred = 0


_state = _State()


@contextmanager
def handling_signals() -> Iterator[None]:
    """Within this block the first of these signals asks the work to stop, and later ones change nothing.

    The old handlers return at the end. Outside the main thread, where Python allows no handlers, and within another
    such block, nothing changes.
    """
    if _state.handling or threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    before = {number: signal.signal(number, _received) for number in numbers}
    _state.handling = True
    leases.while_waiting(check)
    try:
        yield
    finally:
        leases.while_waiting(None)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        _state.handling, _state.reason = False, None


def request(reason: str) -> None:
    """Ask the work to stop at its next border, as a signal does."""
    if _state.reason is None:
        _state.reason = reason
        line = f"frbench: {reason}: finishing the current block; finished work is kept\n"
        with suppress(OSError, ValueError, AttributeError):  # not print: it fails inside another print
            os.write(sys.stderr.fileno(), line.encode())


def requested() -> bool:
    """Whether a stop was requested."""
    return _state.reason is not None


def check() -> None:
    """Raises Interrupted: a stop was requested. Call it where all finished work is stored."""
    if _state.reason is not None and not _state.deferred:
        raise Interrupted(_state.reason)


@contextmanager
def deferred() -> Iterator[None]:
    """Within this block ``check`` does nothing, for loops that call it at their own borders."""
    _state.deferred += 1
    try:
        yield
    finally:
        _state.deferred -= 1


def _received(number: int, frame: object) -> None:
    request(f"received {signal.Signals(number).name}")
