"""Files of a stack of decoded images: ``images.npy``, ``tables.npz`` and ``stack.json``, verified on opening.

Each start verifies the JSON (a checksum inside), the tables (their SHA-256 in the JSON), and the header and the size of
the images. The pixels, 450 MB for 12,000 images, are verified once, and again after every change of the file: the file
``verified`` holds the size, times and inode with which they had the right digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from frbench.datasets.io.file_states import file_state
from frbench.harness.core.atomic import write_atomically
from frbench.harness.core.quarantine import Damaged
from frbench.harness.images.aligned_images import SIDE

IMAGES, TABLES, FACTS = "images.npy", "tables.npz", "stack.json"
_VERIFIED = "verified"


class StackFiles(NamedTuple):
    """images: uint8 (M, 112, 112, 3), memory-mapped read-only."""

    images: np.ndarray
    tables: dict[str, np.ndarray]
    facts: dict[str, Any]


def header(images: int) -> bytes:
    """The header of ``images.npy``, as long for every number of images."""
    file = BytesIO()
    facts = {"descr": "|u1", "fortran_order": False, "shape": (images, SIDE, SIDE, 3)}
    np.lib.format.write_array_header_1_0(file, facts)
    return file.getvalue()


def finish(folder: Path, tables: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Write the tables and the facts of the stack whose images are in ``folder``."""
    with (folder / TABLES).open("wb") as file:
        np.savez(file, **tables)  # type: ignore[arg-type]
    whole = {**facts, "tables_sha256": _sha256(folder / TABLES)}
    (folder / FACTS).write_text(_text(whole), encoding="utf-8")
    (folder / _VERIFIED).write_text(file_state(folder / IMAGES), encoding="utf-8")


def read(folder: Path) -> StackFiles:
    """The stack in ``folder``.

    Raises:
        Damaged: a file is missing or not what was written.
    """
    try:
        text = (folder / FACTS).read_text(encoding="utf-8")
        facts = {key: value for key, value in json.loads(text).items() if key != "checksum"}
        if text != _text(facts):
            raise Damaged(f"the checksum of {FACTS} differs")
        packed = (folder / TABLES).read_bytes()
        if hashlib.sha256(packed).hexdigest() != facts["tables_sha256"]:
            raise Damaged(f"the checksum of {TABLES} differs")
        with np.load(BytesIO(packed), allow_pickle=False) as archive:
            tables = {each: archive[each] for each in archive.files}
        _check_images(folder, facts)
        images = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, AttributeError) as error:
        raise Damaged(str(error)) from error
    return StackFiles(images, tables, facts)


def _check_images(folder: Path, facts: Mapping[str, Any]) -> None:
    path, count = folder / IMAGES, facts["shape"][0]
    begin = header(count)
    size, expected = path.stat().st_size, len(begin) + count * SIDE * SIDE * 3
    if size != expected:
        raise Damaged(f"{IMAGES} has {size} bytes, expected {expected}")
    with path.open("rb") as file:
        if file.read(len(begin)) != begin:
            raise Damaged(f"the header of {IMAGES} differs")
        state, known = file_state(path), folder / _VERIFIED
        if known.is_file() and known.read_text("utf-8", "replace") == state:
            return
        if hashlib.file_digest(file, "sha256").hexdigest() != facts["pixels_sha256"]:
            raise Damaged(f"the checksum of the pixels in {IMAGES} differs")
    with suppress(OSError):  # on a read-only file system the pixels are verified again next time
        write_atomically(known, lambda temporary: temporary.write_text(state, "utf-8"), staging=folder.parent)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _text(facts: Mapping[str, Any]) -> str:
    """The text of ``stack.json``, with its own checksum."""
    checksum = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return json.dumps({**facts, "checksum": checksum}, indent=1) + "\n"
