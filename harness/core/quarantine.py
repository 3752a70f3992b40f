"""Damaged files: named on stderr and moved aside, so that their content is computed again."""

from __future__ import annotations

import errno
import os
import shutil
from itertools import count
from pathlib import Path

from frbench.harness.core.errors import CorruptFile, warn_once

FOLDER = "quarantine"  # below the root of a store or of a cache


class Damaged(CorruptFile):
    """The content of a file is not what was written."""


def set_aside(path: Path, root: Path, reason: object) -> bool:
    """Name the damaged ``path`` on stderr and move it to its place below ``root/quarantine``, over no other file.

    Where the folder is read-only, ``path`` is named and stays. Returns whether its name is free now.
    """
    try:
        place = _free(place_of(path, root), path.is_dir())
    except OSError as error:
        return _left(path, reason, error)
    try:
        _move(path, place)
    except FileNotFoundError:  # another process was faster
        _release(place)
        return True
    except OSError as error:
        _release(place)
        return _left(path, reason, error)
    warn_once(f"{path} is damaged ({reason}); moved to {place}; its content will be computed again")
    return True


def place_of(path: Path, root: Path) -> Path:
    """The place below ``root/quarantine`` of the first damaged file ``path``."""
    return root / FOLDER / path.relative_to(root)


def _left(path: Path, reason: object, error: OSError) -> bool:
    warn_once(f"{path} is damaged ({reason}); it cannot be moved to {FOLDER}/ ({error.strerror}) and is not used")
    return False


def _free(place: Path, folder: bool) -> Path:
    """``place``, or the next free name, taken by an empty file or folder."""
    place.parent.mkdir(parents=True, exist_ok=True)
    for number in count():
        found = place.with_name(f"{place.name}.{number}") if number else place
        try:
            found.mkdir() if folder else found.touch(exist_ok=False)
        except FileExistsError:
            continue
        return found
    raise AssertionError("unreachable")


def _move(path: Path, place: Path) -> None:
    try:
        os.replace(path, place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _release(place)
        shutil.move(path, place)


def _release(place: Path) -> None:
    place.rmdir() if place.is_dir() else place.unlink(missing_ok=True)
