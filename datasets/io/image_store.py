"""A cache of decoded images: a memory-mapped uint8 stack and its digest.

A stack lives in ``<cache>/<name>-<key>/`` as ``images.npy`` (M, 112, 112, 3), ``tables.npz`` (small arrays, one of them
which of the source's images were kept) and ``stack.json`` (digests of the pixels and of the encoded inputs, and the
images that cannot be read). The key is a hash of the source's content. To spare reading all files at each start, a
``.known`` file beside the stack maps names, sizes, times and inodes of files to their content. Digests do not depend on
paths, times or the order in which threads decoded: they are the same on every machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock

from frbench.datasets.io.file_states import known_content
from frbench.harness.core.errors import ConfigError, CorruptFile, DataMissing, warn_once
from frbench.harness.images.aligned_images import SIDE, BadImage, WrongSize, decode

_LAYOUT = "frbench image stack, layout 2"
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

    Several processes may open at once: one decodes under a lock, the others wait, and a stack appears whole. Images
    that cannot be read are left out, counted and named on stderr.

    Raises:
        FrbenchError: more than ``TOLERATED`` of the images cannot be read, or the cache cannot be written.
    """
    cache = Path(cache).expanduser()
    folder = cache / f"{name}-{_key(signature)}"
    if not folder.is_dir():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with FileLock(cache / f"{folder.name}.lock"):
                if not folder.is_dir():
                    _build(folder, contents())
        except OSError as error:
            raise ConfigError(
                f"{folder}: the decoded images cannot be kept there ({error.strerror or error}); "
                "set paths.cache (or FRBENCH_CACHE) to a writable folder with enough room"
            ) from error
    return _read(name, folder)


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


def _read(name: str, folder: Path) -> Stack:
    try:
        facts = json.loads((folder / "stack.json").read_text())
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        with np.load(folder / "tables.npz", allow_pickle=False) as archive:
            tables = {each: archive[each] for each in archive.files}
        kept, pixels = tables.pop("kept"), tables.pop("pixels")
        if list(images.shape) != facts["shape"]:
            raise ValueError(f"{images.shape} images, expected {facts['shape']}")
        unreadable, turned = facts["unreadable"], facts["turned_upright"]
    except (OSError, ValueError, KeyError) as error:
        raise CorruptFile(
            f"{folder}: the decoded images there are damaged ({error}); delete that folder and run again"
        ) from error
    if unreadable:
        warn_once(f"{name}: left out {_listed(unreadable)}")
    if turned:
        warn_once(f"{name}: {turned} images were stored turned (EXIF) and have been turned upright")
    remarks = {"images_unreadable": len(unreadable), "images_turned_upright": turned}
    return Stack(images, tables, facts["pixels_sha256"], kept, pixels, remarks)


def _build(folder: Path, contents: Contents) -> None:
    """Writes the stack beside its final place and renames: a killed process leaves no half stack."""
    partial_folder = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial_folder, ignore_errors=True)
    partial_folder.mkdir()
    writing = _Writing()
    try:
        # Plain writes, not a writable memory map: a full disk is then an error and not a killed process.
        with (partial_folder / "images.npy").open("wb") as file:
            file.write(_header(len(contents.images)))
            for pixels in writing.through(contents.images):
                file.write(pixels)
            file.seek(0)
            file.write(_header(len(writing.kept)))  # as long as the first, whatever the number
        np.savez(partial_folder / "tables.npz", **contents.tables, **writing.tables())  # type: ignore[arg-type]
        (partial_folder / "stack.json").write_text(json.dumps(writing.facts(), indent=1) + "\n")
        partial_folder.rename(folder)
    except BaseException:
        shutil.rmtree(partial_folder, ignore_errors=True)
        raise


def _header(images: int) -> bytes:
    file = BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (images, SIDE, SIDE, 3)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


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
