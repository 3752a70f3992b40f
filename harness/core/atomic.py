"""Files that are written whole or not at all, whenever the process is killed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_atomically(target: Path, write: Callable[[Path], object]) -> None:
    """Write ``target`` through a temporary file in its folder. A reader finds the old file or the new one.

    Args:
        target: the file; missing parent folders are made.
        write: fills the path that it is given.
    """
    with _temporary(target.parent) as path:
        write(path)
        os.replace(path, target)


def create_atomically(target: Path, write: Callable[[Path], object]) -> None:
    """As ``write_atomically``, but never over another file.

    Raises:
        FileExistsError: ``target`` exists.
    """
    with _temporary(target.parent) as path:
        write(path)
        _link(path, target)


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """An unused path in ``folder``, removed at the end if a file is left there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{uuid.uuid4().hex}.tmp"
    try:
        yield path
    finally:
        with suppress(OSError):  # never hides the error of a failed write
            path.unlink(missing_ok=True)


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        os.replace(path, target)
