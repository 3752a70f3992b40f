"""Run records as JSON text with a checksum."""

from __future__ import annotations

from typing import Any

from frbench.harness.core.quarantine import Damaged
from frbench.harness.storage import sealed_json

Record = dict[str, Any]
SCHEMA = 3


class OtherSchema(Exception):
    """A record that another version of frbench wrote. schema: its number."""

    def __init__(self, schema: object) -> None:
        super().__init__(f"schema {schema}")
        self.schema = schema


def parsed(data: bytes) -> Record:
    """The record in the bytes of a file.

    Raises:
        Damaged: it is no record, or its checksum is missing or differs.
        OtherSchema: another version of frbench wrote it.
    """
    record = sealed_json.decoded(data)
    if record.get("schema") != SCHEMA:
        raise OtherSchema(record.get("schema"))
    if record.get("checksum") is None:
        raise Damaged("it has no checksum")
    return record
