"""Leases: files that tell other processes that a piece of work is being done.

A lease saves work and guards nothing: every write is atomic and named by its content, so two processes that make the
same file write the same bytes. Its marker is deleted on release. The lease of a dead process of this host can be taken
at once, that of a dead process of another host after its duration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

from frbench.harness.core.atomic import disk_full_named
from frbench.harness.core.errors import warn_once

LEASE_SECONDS = 120.0
_POLL_SECONDS = 0.1


class _Waiting:
    """What a process that waits for a lease does between two tries; it may raise an exception to stop waiting."""

    check: Callable[[], None] | None = None


def while_waiting(check: Callable[[], None] | None) -> None:
    """Call ``check`` between two tries to get a lease, from now on; None calls nothing."""
    _Waiting.check = check


@contextmanager
def lease(marker: Path, seconds: float = LEASE_SECONDS, wait: bool = True) -> Iterator[bool]:
    """Hold the lease of ``marker``, renewed by a thread every third of ``seconds``.

    Where no marker can be written, such as on a read-only file system, the body runs without a lease.

    Args:
        marker: the file of the lease; its folder is made.
        seconds: without a renewal for this long, other hosts treat the owner as dead. All processes must agree.
        wait: whether to wait for another owner. If not, the body must check whether it has the lease.

    Yields:
        Whether this process may do the work.

    Raises:
        DiskFull: there is no room for the marker.
    """
    found = SoftFileLease(
        marker, lease_duration=seconds, heartbeat_interval=seconds / 3, timeout=-1 if wait else 0, is_singleton=False
    )
    may_work = _acquire(found, marker)
    try:
        yield may_work
    finally:
        if found.is_locked:
            with suppress(OSError):  # a marker that stays is taken over by the next owner
                found.release()


def _acquire(found: SoftFileLease, marker: Path) -> bool:
    try:
        with disk_full_named(marker):
            marker.parent.mkdir(parents=True, exist_ok=True)
            found.acquire(poll_interval=_POLL_SECONDS, cancel_check=_checked)
    except Timeout:
        return False
    except (OSError, LeaseSettingsMismatch) as error:
        warn_once(f"{marker.parent}: working without leases ({error}); other processes may do the same work too")
    return True


def _checked() -> bool:
    """Whether to give up: never, but ``_Waiting.check`` may raise."""
    if _Waiting.check is not None:
        _Waiting.check()
    return False
