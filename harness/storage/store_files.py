"""Files below the root of a store: settings, atomic writes, verified reads, leases."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from frbench.harness.core.atomic import create_atomically, remove_stale_temporaries, write_atomically
from frbench.harness.core.errors import ConfigError, FrbenchError
from frbench.harness.core.leases import LEASE_SECONDS, lease
from frbench.harness.core.quarantine import Damaged, place_of, set_aside
from frbench.harness.storage import sealed_json

LAYOUT = 1
_SETTINGS, _STAGING = "store.json", "tmp"
_DEFAULTS = {"layout": LAYOUT, "lease_seconds": LEASE_SECONDS}
_LEASES, _LEASE = "leases", ".lease"
_CHANGED_MEANWHILE = 3  # reads of a damaged file that another process replaces at the same time
T = TypeVar("T")
State = tuple[int, int, int]  # inode, size and time of change (ns) of a file: another one means another content


@dataclass(frozen=True)
class StoreFiles:
    """The files below ``root``."""

    root: Path

    @cached_property
    def lease_seconds(self) -> float:
        """The duration of leases that all processes of this store obey, from ``store.json``, written on first use.

        A damaged file is set aside, and the duration is the default again. The checksum in it can be left out.
        """
        path = self.root / _SETTINGS
        found = self.read(path, _lease_seconds)
        if found is None:
            try:
                create_atomically(path, lambda temporary: temporary.write_bytes(sealed_json.written(_DEFAULTS)))
            except FileExistsError:  # another process was faster
                found = self.read(path, _lease_seconds)
            except PermissionError:
                pass
            except OSError as error:
                if error.errno != errno.EROFS:
                    raise
        return LEASE_SECONDS if found is None else found

    @contextmanager
    def lease(self, name: str, wait: bool = True) -> Iterator[bool]:
        """Hold the lease ``name``. Yields whether this process may do the work: always, if it waits."""
        with lease(self.root / _LEASES / f"{name}{_LEASE}", self.lease_seconds, wait) as may_work:
            yield may_work

    def read(self, path: Path, reader: Callable[[Path], T]) -> T | None:
        """The result of ``reader``; None where ``path`` does not exist, or is damaged and therefore set aside."""
        for _ in range(_CHANGED_MEANWHILE):
            before = _state(path)
            try:
                return reader(path)
            except FileNotFoundError:
                return None
            except Damaged as error:
                reason: Exception = error
            except OSError as error:
                if error.errno == errno.ESTALE:  # replaced meanwhile, on NFS
                    continue
                if error.errno != errno.EIO:
                    raise
                reason = error
            if _state(path) == before:
                break
        else:
            return None
        set_aside(path, self.root, reason)
        return None

    def write(self, path: Path, data: bytes, durable: bool = False) -> None:
        """Write a file of the store. Raises DiskFull: there is no room."""
        write_atomically(
            path, lambda temporary: temporary.write_bytes(data), durable=durable, staging=self.root / _STAGING
        )

    def remove_stale_leases(self) -> None:
        """Delete the leases of dead processes of this host."""
        for marker in (self.root / _LEASES).glob(f"*{_LEASE}"):
            with lease(marker, self.lease_seconds, wait=False):  # takes over from a dead owner, and deletes the marker
                pass

    def was_set_aside(self, path: Path) -> bool:
        """Whether ``path`` was damaged and has not been made again."""
        return not path.exists() and place_of(path, self.root).exists()

    def remove_stale_temporaries(self) -> int:
        """Delete temporary files of dead processes of this host, and those older than an hour. Returns their number."""
        folders = [self.root, *(Path(entry.path) for entry in os.scandir(self.root) if entry.is_dir())]
        return sum(map(remove_stale_temporaries, folders))


def states_of(folder: Path, ending: str) -> dict[str, State]:
    """The states of the files in ``folder`` with this ending, by their names without it."""
    found = {}
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(ending) and not entry.name.startswith("."):
                with suppress(FileNotFoundError):
                    if entry.is_file():  # to read a named pipe would never end
                        found[entry.name.removesuffix(ending)] = _state_in(entry.stat())
    return found


def _state(path: Path) -> State | None:
    try:
        return _state_in(path.stat())
    except OSError:
        return None


def _state_in(status: os.stat_result) -> State:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _lease_seconds(path: Path) -> float:
    try:
        settings = sealed_json.decoded(path.read_bytes())
        layout, seconds = settings["layout"], float(settings["lease_seconds"])
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"it is not the settings of a store: {error!r}") from error
    if layout != LAYOUT:
        raise FrbenchError(
            f"{path} has layout {layout} and this frbench reads layout {LAYOUT}: take the frbench that made this "
            "folder, or another folder with paths.results=NEW_FOLDER"
        )
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"{path}: lease_seconds={seconds} must be positive; correct it")
    return seconds
