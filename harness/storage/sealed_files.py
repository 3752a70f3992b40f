"""SHA-256 checksums inside files: behind the data, or in a place kept free for it.

``seal`` appends a zstd skippable frame, so that ``zstd -d`` still reads a sealed compressed file. ``sign`` fills in a
digest where a format has room for text but none behind the data, such as the metadata of safetensors and Parquet.
"""

from __future__ import annotations

import hashlib

from frbench.harness.core.quarantine import Damaged

_MAGIC = (0x184D2A50).to_bytes(4, "little")  # of a zstd skippable frame
_FRAME = _MAGIC + (32).to_bytes(4, "little")
_LENGTH = len(_FRAME) + 32

_MARK = b"frbench-sha256:"
UNSIGNED = _MARK.decode() + 64 * "0"  # the text whose digits ``sign`` fills in; must stand once in the data


def seal(data: bytes) -> bytes:
    """``data`` with its SHA-256 behind it."""
    return data + _FRAME + hashlib.sha256(data).digest()


def unseal(sealed: bytes) -> memoryview:
    """The data of ``seal``. Raises Damaged: any byte differs, or some are missing."""
    data, frame = memoryview(sealed)[:-_LENGTH], sealed[-_LENGTH:]
    if len(sealed) < _LENGTH:
        raise Damaged(f"{len(sealed)} bytes, too short for a checksum")
    if frame != _FRAME + hashlib.sha256(data).digest():
        raise Damaged("its checksum differs")
    return data


def sign(data: bytes) -> bytes:
    """``data`` with the digits of ``UNSIGNED`` replaced by its SHA-256."""
    start = _digits(data)
    return data[:start] + _digest(data, start) + data[start + 64 :]


def check_signed(data: bytes) -> None:
    """Raises Damaged: a byte of ``data`` differs from what ``sign`` returned."""
    start = _digits(data)
    if data[start : start + 64] != _digest(data, start):
        raise Damaged("its checksum differs")


def _digits(data: bytes) -> int:
    start = data.find(_MARK)
    if start < 0 or len(data) < start + len(_MARK) + 64 or data.find(_MARK, start + 1) >= 0:
        raise Damaged("it has no checksum")
    return start + len(_MARK)


def _digest(data: bytes, start: int) -> bytes:
    whole, view = hashlib.sha256(), memoryview(data)
    for part in (view[:start], 64 * b"0", view[start + 64 :]):
        whole.update(part)
    return whole.hexdigest().encode()
