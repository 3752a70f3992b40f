"""Detects changed files by name, size, times and inode, and by content if these differ."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from frbench.harness.core.atomic import write_atomically
from frbench.harness.core.errors import ConfigError

_LAYOUT = "frbench file states, layout 1"
_SETTLED = 2_000_000_000  # nanoseconds after which a further change is sure to have another time


def file_state(path: Path | str) -> str:
    """Size, both times and inode: no program replaces a file and keeps them all, since none sets the change time."""
    status = os.stat(path)
    return "\0".join(map(str, (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)))


def known_content(name: str, root: Path, names: Sequence[str], cache: Path) -> str:
    """SHA-256 (hex) over the names and contents of files below ``root``.

    Files are read only if one of them has changed its state since the last time, which ``cache`` remembers. A state so
    young that a further change might not show in it is not remembered.

    Raises:
        FileNotFoundError: a file is not there.
        FrbenchError: the cache cannot be written.
    """
    states = [f"{each}\0{file_state(f'{root}/{each}')}" for each in names]  # thousands, and pathlib is slow
    newest = max((int(state.split("\0")[-2]) for state in states), default=0)  # change time
    known = Path(cache).expanduser() / f"{name}-{_hash(states)[:16]}.known"
    if known.is_file() and len(content := known.read_text("ascii", "replace")) == 64:
        return content
    content = _hash(f"{each}\0{digest}" for each, digest in zip(names, _contents(root, names), strict=True))
    if newest + _SETTLED < time.time_ns():
        _write(known, content)
    return content


def _contents(root: Path, names: Sequence[str]) -> list[str]:
    with ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(lambda name: _content(f"{root}/{name}"), names, chunksize=64))


def _content(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _hash(parts: Iterable[str]) -> str:
    whole = hashlib.sha256(_LAYOUT.encode())
    for part in parts:
        whole.update(f"\n{part}".encode())
    return whole.hexdigest()


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, lambda temporary: temporary.write_text(text, "ascii"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror or error}); set paths.cache (or FRBENCH_CACHE) to a writable "
            "folder with enough room"
        ) from error
