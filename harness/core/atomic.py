"""Files that are written whole or not at all, whenever the process is killed."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from frbench.harness.core.errors import DiskFull

_FULL = (errno.ENOSPC, errno.EDQUOT)
_SUFFIX = ".tmp"
_STALE_SECONDS = 3600.0  # without a write, a temporary file of another host is left over


def write_atomically(
    target: Path, write: Callable[[Path], object], *, durable: bool = False, staging: Path | None = None
) -> None:
    """Write ``target`` through a temporary file. A reader finds the old file or the new one.

    The file gets the rights of a new file in its folder (umask), whatever the library that ``write`` calls sets.

    Args:
        target: the file; missing parent folders are made.
        write: fills the path that it is given.
        durable: whether the file and its name reach the disk before the call returns, so that a power cut cannot leave
            an empty file under the name.
        staging: folder of the temporary file; None, or a folder on another file system: the folder of ``target``.

    Raises:
        DiskFull: there is no room. No temporary file is left.
    """
    with disk_full_named(target), _temporary(staging or target.parent) as path:
        target.parent.mkdir(parents=True, exist_ok=True)
        _fill(path, write, durable)
        try:
            os.replace(path, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            write_atomically(target, partial(shutil.copyfile, path), durable=durable)
        else:
            if durable:
                _flush(target.parent)


def create_atomically(target: Path, write: Callable[[Path], object]) -> None:
    """As ``write_atomically``, but never over another file.

    Raises:
        FileExistsError: ``target`` exists.
        DiskFull: there is no room.
    """
    with disk_full_named(target), _temporary(target.parent) as path:
        _fill(path, write, durable=False)
        _link(path, target)


@contextmanager
def disk_full_named(target: Path) -> Iterator[None]:
    """Raise DiskFull, which names ``target``, where the body fails for lack of room or quota."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DiskFull(
            f"{target} cannot be written ({os.strerror(error.errno)}); finished results are kept: make room there and "
            "run the same command again"
        ) from error


def temporary_name() -> str:
    """A new name for a temporary file or folder, which says whose it is."""
    return f".{platform.node()}-{os.getpid()}-{uuid.uuid4().hex}{_SUFFIX}"


def remove_stale_temporaries(folder: Path) -> int:
    """Delete temporary files and folders in ``folder`` whose process is dead, or that nothing wrote to for an hour.

    Returns their number.
    """
    removed = 0
    for path in folder.glob(f".*{_SUFFIX}"):
        with suppress(OSError):  # another process was faster, or it belongs to another user
            if _is_stale(path):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                removed += 1
    return removed


def _is_stale(path: Path) -> bool:
    host, _, process = path.name.removesuffix(_SUFFIX).rpartition("-")[0].rpartition("-")
    if host.removeprefix(".") == platform.node() and process.isdecimal():
        return not is_alive(int(process))
    newest = max(each.lstat().st_mtime for each in (path, *path.glob("*")))
    return newest < time.time() - _STALE_SECONDS


def is_alive(process: int) -> bool:
    """Whether a process of this host has this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A new empty file in ``folder``, removed at the end if it is still there. Its name says whose it is."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / temporary_name()
    try:
        path.touch(exist_ok=False)
        yield path
    finally:
        with suppress(OSError):  # never hides the error of a failed write
            path.unlink(missing_ok=True)


def _fill(path: Path, write: Callable[[Path], object], durable: bool) -> None:
    """Let ``write`` fill the new file ``path``, with the rights that it has now."""
    rights = path.stat().st_mode
    write(path)
    if path.stat().st_mode != rights:
        path.chmod(rights & 0o7777)
    if durable:
        _flush(path)


def _flush(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # a file system that cannot flush a folder
            raise
    finally:
        os.close(descriptor)


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        os.replace(path, target)
