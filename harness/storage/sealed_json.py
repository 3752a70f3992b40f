"""JSON objects with a checksum of their content, for files and for lines of files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frbench.harness.core.quarantine import Damaged

_CHECKSUM = "checksum"


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """``value`` with its checksum. Raises ValueError: it holds NaN or infinity."""
    return {**value, _CHECKSUM: checksum(value)}


def checksum(value: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the canonical JSON of ``value`` without its checksum."""
    rest = {key: each for key, each in value.items() if key != _CHECKSUM}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def decoded(data: bytes) -> dict[str, Any]:
    """The object in ``data``, with or without a checksum. Raises Damaged: it is none, or its checksum differs."""
    try:
        value = json.loads(data)
        if not isinstance(value, dict):
            raise ValueError("not an object")
        if _CHECKSUM in value and value[_CHECKSUM] != checksum(value):
            raise Damaged("its checksum differs")
    except (ValueError, RecursionError) as error:  # not UTF-8, or not JSON
        raise Damaged(f"it is not valid JSON: {error}") from error
    return value


def line(value: Mapping[str, Any]) -> bytes:
    """``value`` with its checksum as one line."""
    return (json.dumps(sealed(value), sort_keys=True) + "\n").encode()


def written(value: Mapping[str, Any]) -> bytes:
    """``value`` with its checksum as the bytes of a file."""
    return (json.dumps(sealed(value), indent=1, sort_keys=True) + "\n").encode()


def parsed(data: bytes) -> dict[str, Any]:
    """The value that ``line`` or ``written`` was given. Raises Damaged: it differs, or has no checksum."""
    value = decoded(data)
    if value.pop(_CHECKSUM, None) is None:
        raise Damaged("it has no checksum")
    return value


def read(path: Path) -> dict[str, Any]:
    """The value in a file of ``written``. Raises Damaged: it differs."""
    return parsed(path.read_bytes())
