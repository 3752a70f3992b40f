"""Run records as JSON text with a checksum."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from frbench.harness.core.quarantine import Damaged

Record = dict[str, Any]
SCHEMA = 3


class OtherSchema(Exception):
    """A record that another version of frbench wrote. schema: its number."""

    def __init__(self, schema: object) -> None:
        super().__init__(f"schema {schema}")
        self.schema = schema


def sealed(record: Record) -> Record:
    """``record`` with its checksum. Raises ValueError: it holds NaN or infinity."""
    return {**record, "checksum": checksum(record)}


def parsed(data: bytes) -> Record:
    """The record in the bytes of a file.

    Raises:
        Damaged: it is no record, or its checksum is missing or differs.
        OtherSchema: another version of frbench wrote it.
    """
    try:
        record = json.loads(data)
    except ValueError as error:  # not UTF-8, or not JSON
        raise Damaged(f"it is not a run record: {error}") from error
    if not isinstance(record, dict):
        raise Damaged("it is not a run record")
    found = record.get("checksum")
    if found is not None and found != checksum(record):
        raise Damaged("its checksum differs")
    if record.get("schema") != SCHEMA:
        raise OtherSchema(record.get("schema"))
    if found is None:
        raise Damaged("it has no checksum")
    return record


def checksum(record: Record) -> str:
    """SHA-256 (hex) of the canonical JSON of ``record`` without its checksum."""
    rest = {key: value for key, value in record.items() if key != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
