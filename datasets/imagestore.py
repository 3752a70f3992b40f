"""Images decoded once: a memory-mapped uint8 stack in the cache, and its digest.

A stack lives in ``<cache>/<name>-<key>/`` as ``images.npy`` (M, 112, 112, 3), ``tables.npz`` (small arrays that
came with the images, if any) and ``stack.json`` (digests of the pixels and of the encoded inputs). The key is a
hash of the *signature* of the source: for files their relative names, sizes and modification times. So a later
open reads neither images nor pixels, and a changed source makes a new stack. The digests know nothing of paths,
times or the order in which threads decoded: they are the same on every machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock
from PIL import Image, UnidentifiedImageError

from frbench.harness.errors import FrbenchError

SIDE = 112
_LAYOUT = "frbench image stack, layout 1"
_CHUNK = 256  # images decoded ahead of the writer: bounds the memory, whatever the size of the set


class Encoded(NamedTuple):
    """One encoded image: ``label`` is how an error names it, ``read`` gives its bytes."""

    label: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Contents:
    """What a stack is made of: M encoded images in their final order, and small arrays to keep beside them."""

    images: Sequence[Encoded]
    tables: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Stack:
    """images: uint8 (M, 112, 112, 3), RGB, memory-mapped read-only; digest: SHA-256 of the pixels."""

    images: np.ndarray
    tables: Mapping[str, np.ndarray]
    digest: str


def open_stack(name: str, signature: Iterable[str], contents: Callable[[], Contents], cache: Path) -> Stack:
    """The stack of the source that ``signature`` describes; ``contents`` is asked only if it is not there yet.

    Several processes may open at once: one decodes under a lock, the others wait, and a stack appears whole.

    Raises:
        FrbenchError: an image cannot be read or decoded or is not 112x112; the cache cannot be written.
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
            raise FrbenchError(
                f"{folder}: the decoded images cannot be kept there ({error.strerror or error}); "
                "set paths.cache (or FRBENCH_CACHE) to a writable folder with enough room"
            ) from error
    return _read(folder)


def open_files(name: str, root: Path, named_by: Mapping[str, str], cache: Path) -> Stack:
    """The stack of image files below ``root``, in the sorted order of their relative names.

    Args:
        named_by: relative name of each image -> where it is named (such as ``pairs.txt:17``), for errors.
    """
    names = sorted(named_by)
    signature = [_file_signature(root, name, named_by[name]) for name in names]

    def contents() -> Contents:
        return Contents([Encoded(str(root / name), (root / name).read_bytes) for name in names])

    return open_stack(name, signature, contents, cache)


def combined_digest(first: str, **arrays: np.ndarray) -> str:
    """SHA-256 (hex) over a digest and integer or boolean arrays, by name, alike on every machine."""
    whole = hashlib.sha256(first.encode())
    for name, array in sorted(arrays.items()):
        whole.update(f"{name}{array.shape}".encode())
        whole.update(np.ascontiguousarray(array, "<i8").tobytes())
    return whole.hexdigest()


def _file_signature(root: Path, name: str, named_by: str) -> str:
    try:
        status = os.stat(f"{root}/{name}")  # thousands of these, and pathlib is slow
    except OSError as error:
        raise FrbenchError(
            f"{named_by}: names the image {name}, which is not in {root}; complete that folder or mend the list"
        ) from error
    return f"{name}\0{status.st_size}\0{status.st_mtime_ns}"


def _key(signature: Iterable[str]) -> str:
    return hashlib.sha256("\n".join([_LAYOUT, *signature]).encode()).hexdigest()[:16]


def _read(folder: Path) -> Stack:
    try:
        facts = json.loads((folder / "stack.json").read_text())
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        tables: dict[str, np.ndarray] = {}
        if (folder / "tables.npz").exists():
            with np.load(folder / "tables.npz", allow_pickle=False) as archive:
                tables = {name: archive[name] for name in archive.files}
        if list(images.shape) != facts["shape"]:
            raise ValueError(f"{images.shape} images, expected {facts['shape']}")
    except (OSError, ValueError, KeyError) as error:
        raise FrbenchError(
            f"{folder}: the decoded images there are damaged ({error}); delete that folder and run again"
        ) from error
    return Stack(images=images, tables=tables, digest=facts["pixels_sha256"])


def _build(folder: Path, contents: Contents) -> None:
    """Writes the stack beside its final place and renames: a killed process leaves no half stack."""
    partial_folder = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial_folder, ignore_errors=True)
    partial_folder.mkdir()
    shape = (len(contents.images), SIDE, SIDE, 3)
    pixels_hash, inputs_hash = hashlib.sha256(), hashlib.sha256()
    try:
        # Plain writes, not a writable memory map: a full disk is then an error and not a killed process.
        with (partial_folder / "images.npy").open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for pixels, encoded_sha256 in _decoded(contents.images):
                file.write(pixels)
                pixels_hash.update(pixels)
                inputs_hash.update(encoded_sha256)
        if contents.tables:
            np.savez(partial_folder / "tables.npz", **contents.tables)  # type: ignore[arg-type]
        facts = {"shape": shape, "pixels_sha256": pixels_hash.hexdigest(), "inputs_sha256": inputs_hash.hexdigest()}
        (partial_folder / "stack.json").write_text(json.dumps(facts, indent=1) + "\n")
        partial_folder.rename(folder)
    except BaseException:
        shutil.rmtree(partial_folder, ignore_errors=True)
        raise


def _decoded(images: Sequence[Encoded]) -> Iterator[tuple[bytes, bytes]]:
    """(pixels, SHA-256 of the encoded bytes) of each image, in order; Pillow decodes outside the GIL."""
    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        for start in range(0, len(images), _CHUNK):
            yield from pool.map(_decode, images[start : start + _CHUNK])


def _decode(encoded: Encoded) -> tuple[bytes, bytes]:
    try:
        data = encoded.read()
    except OSError as error:
        raise _refuse(encoded.label, f"cannot be read ({error.strerror or error}); complete the dataset") from error
    return decoded(encoded.label, data).tobytes(), hashlib.sha256(data).digest()


def decoded(label: str, data: bytes) -> np.ndarray:
    """The pixels (112, 112, 3) of an encoded image. Raises FrbenchError, which calls it ``label``: it is none."""
    refuse = partial(_refuse, label)
    try:
        with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
            if image.size != (SIDE, SIDE):
                raise refuse(
                    f"is {image.width}x{image.height}, expected an aligned {SIDE}x{SIDE} face; "
                    "align the originals with: frbench data prepare"
                )
            if image.mode not in ("RGB", "L"):
                raise refuse(f"has mode {image.mode}, expected RGB or gray; convert it")
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except UnidentifiedImageError as error:
        raise refuse("is neither a JPEG nor a PNG image; fetch it again") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise refuse(f"cannot be decoded ({error}); fetch it again") from error


def _refuse(label: str, reason: str) -> FrbenchError:
    return FrbenchError(f"{label}: {reason}")
