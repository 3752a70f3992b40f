"""Files of a results folder that can be deleted without losing a result: what they are, and which of them to delete.

Records, scores, and artifacts of fitted defenses are never among them.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from frbench.harness.storage.result_store import ResultStore

LEFT_OVER = 3600.0  # seconds without a write after which a temporary file or a lease belongs to no live process
_IMAGES = ("adversarial", "distance")  # kinds of the cache with a folder for the images of each attacker
_ARRAYS = "*.safetensors.zst"


class Kind(StrEnum):
    """The kinds of files that can be deleted."""

    TEMPORARY = "temporary files"
    LEASE = "leases"
    LOG = "logs of finished sweeps"
    QUARANTINE = "damaged files"
    CACHE = "cached arrays"
    CHECKPOINT = "unfinished fits"
    SAMPLE_IMAGES = "sample images without a record"


_LEFT_BY_PROCESSES = (Kind.TEMPORARY, Kind.LEASE)
_BY_SIZE = (Kind.CACHE, Kind.QUARANTINE)
_USED_BY_SWEEPS = (Kind.CACHE, Kind.CHECKPOINT, Kind.SAMPLE_IMAGES)


@dataclass(frozen=True)
class StoredFile:
    """A file that can be deleted.

    Attributes:
        path: of the file.
        kind: what it is.
        size: in bytes.
        used: when it was last read or written, Unix time in seconds.
    """

    path: Path
    kind: Kind
    size: int
    used: float


@dataclass(frozen=True)
class Limits:
    """What may stay.

    Attributes:
        now: Unix time in seconds.
        older_than: seconds without use after which a file is deleted.
        cache_at_most: bytes of cached arrays and damaged files together; None for any number.
        running: whether a process works in the folder, so that caches, checkpoints and sample images stay.
    """

    now: float
    older_than: float
    cache_at_most: float | None = None
    running: bool = False


def garbage(files: Iterable[StoredFile], limits: Limits) -> list[StoredFile]:
    """Those of ``files`` to delete, the least recently used first."""
    chosen, kept_by_size = [], []
    for file in sorted(files, key=lambda file: (file.used, str(file.path))):
        age = limits.now - file.used
        if file.kind in _LEFT_BY_PROCESSES:
            delete = age > LEFT_OVER
        elif limits.running and file.kind in _USED_BY_SWEEPS:
            continue
        elif file.kind == Kind.LOG:
            delete = True
        else:
            delete = age > limits.older_than
        if delete:
            chosen.append(file)
        elif file.kind in _BY_SIZE:
            kept_by_size.append(file)
    if limits.cache_at_most is not None:
        excess = sum(file.size for file in kept_by_size) - limits.cache_at_most
        for file in kept_by_size:
            if excess <= 0:
                break
            chosen.append(file)
            excess -= file.size
    return chosen


def deletable(store: ResultStore, finished_sweeps: Collection[Path]) -> Iterator[StoredFile]:
    """The files of ``store`` that can be deleted at some age or size. finished_sweeps: folders of sweeps."""
    root = store.root
    for pattern in (".*.tmp", "*/.*.tmp"):
        yield from _files(Kind.TEMPORARY, root.glob(pattern))
    yield from _files(Kind.LEASE, (root / "leases").glob("*"))
    yield from _files(Kind.LEASE, (root / "cache" / "locks").glob("*.lock"))  # of older versions
    for sweep in finished_sweeps:
        for name in ("logs", "workers", "starts"):
            yield from _files(Kind.LOG, (sweep / name).rglob("*"))
    yield from _files(Kind.QUARANTINE, (root / "quarantine").rglob("*"))
    yield from _files(Kind.CACHE, (root / "cache").rglob(_ARRAYS))
    yield from _files(Kind.CHECKPOINT, (root / "artifacts").glob("*.unfinished"))
    yield from _files(Kind.SAMPLE_IMAGES, _unused_samples(store))


def is_running(store: ResultStore, now: float) -> bool:
    """Whether a process holds a lease of ``store`` that it renewed lately."""
    fresh = 2 * store.files.lease_seconds
    return any(now - file.used < fresh for file in _files(Kind.LEASE, (store.root / "leases").glob("*")))


def delete(files: Iterable[StoredFile], root: Path) -> list[OSError]:
    """Delete ``files`` and the folders below ``root`` that become empty. Returns the errors of files that stay."""
    errors, folders = [], set[Path]()
    for file in files:
        try:
            file.path.unlink(missing_ok=True)
        except OSError as error:
            errors.append(error)
        folders.add(file.path.parent)
    for folder in folders:
        _remove_empty(folder, root)
    return errors


def drop_images(store: ResultStore, keys: Iterable[str]) -> None:
    """Delete the adversarial images of the attackers with these cache keys, as ``card.adversarial_images`` has them."""
    for key in keys:
        if re.fullmatch(r"[0-9a-f]{64}", key):
            for kind in _IMAGES:
                shutil.rmtree(store.root / "cache" / kind / key, ignore_errors=True)


def _files(kind: Kind, paths: Iterable[Path]) -> Iterator[StoredFile]:
    for path in paths:
        try:
            status = path.lstat()
        except OSError:  # deleted meanwhile
            continue
        if not path.is_dir() or path.is_symlink():
            yield StoredFile(path, kind, status.st_size, max(status.st_atime, status.st_mtime))


def _unused_samples(store: ResultStore) -> Iterator[Path]:
    """Sample images of cells without a record, and stacks of images that no other sample file refers to."""
    folder, runs, used = store.root / "sample_images", store.root / "runs", set[Path]()
    for path in folder.glob(_ARRAYS):
        if (runs / f"{path.name.removesuffix(_ARRAYS[1:])}.json").exists():
            used.update(store.image_stacks(path.name.removesuffix(_ARRAYS[1:])))
        else:
            yield path
    yield from (path for path in (folder / "images").glob(_ARRAYS) if path not in used)


def _remove_empty(folder: Path, root: Path) -> None:
    while root in folder.parents and folder.parent != root:
        try:
            folder.rmdir()
        except OSError:  # not empty
            return
        folder = folder.parent
