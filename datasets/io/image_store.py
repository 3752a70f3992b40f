"""A cache of decoded images: a memory-mapped uint8 stack and its digest.

A stack lives in ``<cache>/<name>-<key>/`` as ``images.npy`` (M, 112, 112, 3), ``tables.npz`` (small arrays, one of them
which of the source's images were kept) and ``stack.json`` (digests of the pixels and of the encoded inputs, and the
images that cannot be read). The key is a hash of the source's content. A damaged stack is set aside and decoded again.
To spare reading all files at each start, a ``.known`` file beside the stack maps names, sizes, times and inodes of
files to their content. Digests do not depend on paths, times or the order in which threads decoded: they are the same
on every machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from frbench.datasets.io import stack_files
from frbench.datasets.io.file_states import known_content
from frbench.datasets.io.stack_files import StackFiles
from frbench.harness.core.atomic import disk_full_named, remove_stale_temporaries, temporary_name
from frbench.harness.core.errors import ConfigError, CorruptFile, DataMissing, warn_once
from frbench.harness.core.leases import lease
from frbench.harness.core.quarantine import Damaged, set_aside
from frbench.harness.images.aligned_images import SIDE, BadImage, WrongSize, decode

_LAYOUT = "frbench image stack, layout 3"
_CHUNK = 256  # images decoded ahead of the writer: bounds the memory, whatever the size of the set
TOLERATED = 0.01  # share of images that may be unreadable: these are left out and counted, more are refused
_NAMED = 20  # unreadable images named in a message


class Encoded(NamedTuple):
    """One encoded image: ``label`` is how an error names it, ``read`` gives its bytes."""

    label: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Contents:
    """Contents of a stack: encoded images in their final order, and small arrays that are kept with them."""

    images: Sequence[Encoded]
    tables: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Stack:
    """images: uint8 (M, 112, 112, 3), RGB, memory-mapped read-only; digest: SHA-256 of the pixels.

    kept: int64 (M,), which of the source's images the rows are; None for all. pixels: uint64 (M,), a hash of each
    image's pixels; None where nobody has asked. remarks: what was left out or altered, counted.
    """

    images: np.ndarray
    tables: Mapping[str, np.ndarray]
    digest: str
    kept: np.ndarray | None = None
    pixels: np.ndarray | None = None
    remarks: Mapping[str, int] = field(default_factory=dict)

    def rows(self, images: np.ndarray) -> np.ndarray:
        """The rows (int64) of ``images``, numbered as in the source; -1 for one that cannot be read."""
        if self.kept is None:
            return images
        last = max(int(images.max(initial=-1)), int(self.kept.max(initial=-1)))
        row = np.full(last + 1, -1, np.int64)
        row[self.kept] = np.arange(len(self.kept))
        return row[images]


def open_stack(name: str, signature: Iterable[str], contents: Callable[[], Contents], cache: Path) -> Stack:
    """The stack of the source that ``signature`` describes; ``contents`` is called only if the stack does not exist.

    Several processes may open at once: one decodes with a lease, the others wait, and a stack appears whole. Images
    that cannot be read are left out, counted and named on stderr.

    Raises:
        DiskFull: there is no room for the stack.
        FrbenchError: more than ``TOLERATED`` of the images cannot be read, or the cache cannot be written.
    """
    cache = Path(cache).expanduser()
    folder = cache / f"{name}-{_key(signature)}"
    found = _stored(folder)
    if found is None:
        try:
            with lease(cache / f"{folder.name}.lease"):
                found = _stored(folder)  # another process may have decoded them meanwhile
                if found is None:
                    with disk_full_named(folder):
                        cache.mkdir(parents=True, exist_ok=True)
                        _build(folder, contents())
                    found = stack_files.read(folder)
        except OSError as error:
            raise ConfigError(
                f"{folder}: the decoded images cannot be kept there ({error.strerror or error}); "
                "set paths.cache (or FRBENCH_CACHE) to a writable folder with enough room"
            ) from error
    return _stack(name, found)


def open_files(name: str, root: Path, named_by: Mapping[str, str], cache: Path) -> Stack:
    """The stack of image files below ``root``, in the sorted order of their relative names.

    Args:
        named_by: relative name of each image -> where it is named (such as ``pairs.txt:17``), for errors.
    """
    names = sorted(named_by)

    def contents() -> Contents:
        return Contents([Encoded(str(root / each), (root / each).read_bytes) for each in names])

    try:
        content = known_content(name, root, names, cache)
    except FileNotFoundError as error:
        gone = next(each for each in names if not (root / each).exists())
        raise DataMissing(
            f"{named_by[gone]}: names the image {gone}, which is not in {root}; complete it or correct the list"
        ) from error
    return open_stack(name, [content], contents, cache)


def combined_digest(first: str, **arrays: np.ndarray) -> str:
    """SHA-256 (hex) over a digest and integer or boolean arrays, by name, alike on every machine."""
    whole = hashlib.sha256(first.encode())
    for name, array in sorted(arrays.items()):
        whole.update(f"{name}{array.shape}".encode())
        whole.update(np.ascontiguousarray(array, "<i8").tobytes())
    return whole.hexdigest()


def _key(signature: Iterable[str]) -> str:
    return hashlib.sha256("\n".join([_LAYOUT, *signature]).encode()).hexdigest()[:16]


def _stored(folder: Path) -> StackFiles | None:
    """The stack in ``folder``; None where there is none, or where it is damaged and set aside."""
    if not folder.is_dir():
        return None
    try:
        return stack_files.read(folder)
    except Damaged as error:
        if not set_aside(folder, folder.parent, error):
            raise CorruptFile(
                f"{folder}: the decoded images there are damaged ({error}); delete that folder and run again"
            ) from error
        return None


def _stack(name: str, found: StackFiles) -> Stack:
    images, tables, facts = found
    kept, pixels = tables.pop("kept"), tables.pop("pixels")
    unreadable, turned = facts["unreadable"], facts["turned_upright"]
    if unreadable:
        warn_once(f"{name}: left out {_listed(unreadable)}")
    if turned:
        warn_once(f"{name}: {turned} images were stored turned (EXIF) and have been turned upright")
    remarks = {"images_unreadable": len(unreadable), "images_turned_upright": turned}
    return Stack(images, tables, facts["pixels_sha256"], kept, pixels, remarks)


def _build(folder: Path, contents: Contents) -> None:
    """Writes the stack beside its final place and renames: a killed process leaves no half stack."""
    remove_stale_temporaries(folder.parent)
    partial_folder = folder.with_name(temporary_name())
    partial_folder.mkdir()
    writing = _Writing()
    try:
        # Plain writes, not a writable memory map: a full disk is then an error and not a killed process.
        with (partial_folder / stack_files.IMAGES).open("wb") as file:
            file.write(stack_files.header(len(contents.images)))
            for pixels in writing.through(contents.images):
                file.write(pixels)
            file.seek(0)
            file.write(stack_files.header(len(writing.kept)))  # as long as the first, whatever the number
        stack_files.finish(partial_folder, {**contents.tables, **writing.tables()}, writing.facts())
        try:
            partial_folder.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
    finally:
        shutil.rmtree(partial_folder, ignore_errors=True)


class _Writing:
    """Facts collected about the images while they are decoded."""

    def __init__(self) -> None:
        self.kept: list[int] = []
        self.pixels: list[int] = []
        self.unreadable: list[str] = []
        self.turned = 0
        self._pixels_hash, self._inputs_hash = hashlib.sha256(), hashlib.sha256()

    def through(self, images: Sequence[Encoded]) -> Iterator[bytes]:
        """The pixels of each image that can be read. Raises FrbenchError: too many cannot."""
        most = int(TOLERATED * len(images))
        for number, found in enumerate(_decoded(images)):
            if found.reason:
                self.unreadable.append(found.reason)
                if len(self.unreadable) > most + _NAMED:
                    break
                continue
            self.kept.append(number)
            self.turned += found.turned
            self.pixels.append(int.from_bytes(hashlib.sha256(found.pixels).digest()[:8], "little"))
            self._pixels_hash.update(found.pixels)
            self._inputs_hash.update(found.sha256)
            yield found.pixels
        if len(self.unreadable) > most:
            at_least = "at least " if len(self.unreadable) > most + _NAMED else ""
            raise CorruptFile(_listed(self.unreadable, f"{at_least}{len(self.unreadable)} of {len(images)} images"))

    def tables(self) -> dict[str, np.ndarray]:
        return {"kept": np.array(self.kept, np.int64), "pixels": np.array(self.pixels, np.uint64)}

    def facts(self) -> dict[str, object]:
        return {
            "shape": (len(self.kept), SIDE, SIDE, 3),
            "pixels_sha256": self._pixels_hash.hexdigest(),
            "inputs_sha256": self._inputs_hash.hexdigest(),
            "turned_upright": self.turned,
            "unreadable": self.unreadable,
        }


class _Found(NamedTuple):
    pixels: bytes
    sha256: bytes
    turned: bool
    reason: str


def _decoded(images: Sequence[Encoded]) -> Iterator[_Found]:
    """Each image in order; Pillow decodes outside the GIL."""
    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        for start in range(0, len(images), _CHUNK):
            yield from pool.map(_decode, images[start : start + _CHUNK])


def _decode(encoded: Encoded) -> _Found:
    try:
        data = encoded.read()
        face = decode(data)
    except OSError as error:
        return _Found(b"", b"", False, f"{encoded.label}: cannot be read ({error.strerror or error})")
    except BadImage as error:
        return _Found(b"", b"", False, f"{encoded.label}: {_advised(error)}")
    return _Found(face.pixels.tobytes(), hashlib.sha256(data).digest(), face.turned, "")


def decoded(label: str, data: bytes) -> np.ndarray:
    """The pixels (112, 112, 3) of an encoded image, upright. Raises FrbenchError, which names it by ``label``."""
    try:
        return decode(data).pixels
    except BadImage as error:
        raise CorruptFile(f"{label}: {_advised(error)}") from error


def _advised(error: BadImage) -> str:
    align = isinstance(error, WrongSize)
    return f"{error}; {'align the originals with: frbench data prepare' if align else 'replace it or leave it out'}"


def _listed(unreadable: Sequence[str], count: str = "") -> str:
    """Unreadable images in one line: the first with its reason, then how many there are and their names."""
    first, *others = unreadable
    names = [each.partition(": ")[0] for each in others[: _NAMED - 1]]
    more = f" and {len(others) - len(names)} more" if len(others) > len(names) else ""
    also = f"; so are {', '.join(names)}{more}" if names else ""
    total = count or f"{len(unreadable)} image{'s' if others else ''}"
    return f"{first} ({total} cannot be read{also})"
