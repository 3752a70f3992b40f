"""Run records as JSON text with a checksum."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frbench.harness.core.errors import shortened
from frbench.harness.core.quarantine import Damaged
from frbench.harness.storage import sealed_json

Record = dict[str, Any]
SCHEMA = 3
LARGEST = 5_000_000  # bytes; a record takes about 10 kB
_NUMBER = (int, float, type(None))
_OBJECT = (dict, type(None))
_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("fingerprint", "kind", "status", "reason"), (str, type(None))),
    **dict.fromkeys(("names", "settings", "hyperparameters", "measurements", "card"), _OBJECT),
    "flags": (list, type(None)),
}
_ATTACK = dict.fromkeys(("asr", "asr_low", "asr_high", "asr_denominator"), _NUMBER)


class Unreadable(Exception):
    """A record that this version of frbench does not read, and that stays where it is."""


class OtherSchema(Unreadable):
    """A record that another version of frbench wrote. schema: its number."""

    def __init__(self, schema: object) -> None:
        super().__init__(f"schema {shortened(schema)}")
        self.schema = schema


class TooLarge(Unreadable):
    """A file of more than ``LARGEST`` bytes, which nobody read."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size / 1e6:.0f} MB, more than the {LARGEST / 1e6:.0f} MB of the largest record")


def read(path: Path) -> Record:
    """The record in a file of any name.

    Raises:
        FileNotFoundError: there is no file.
        Damaged: as ``parsed``, or a field has the wrong type.
        OtherSchema: another version of frbench wrote it.
        TooLarge: the file is too large for a record.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise TooLarge(size)
    record = parsed(path.read_bytes())
    check_fields(record)
    return record


def read_named(path: Path) -> Record:
    """As ``read``, of a file that has the name of its fingerprint. Raises Damaged: it has another one."""
    record = read(path)
    if record.get("fingerprint") != path.name.removesuffix(".json"):
        raise Damaged("its fingerprint is not the name of the file")
    return record


def check_fields(record: Mapping[str, Any]) -> None:
    """Raises Damaged: a field that reports read has the wrong type."""
    measurements = record.get("measurements")
    parts = {} if not isinstance(measurements, dict) else {part: measurements.get(part) for part in ("clean", "attack")}
    attack, clean = (each if isinstance(each, dict) else {} for each in (parts.get("attack"), parts.get("clean")))
    wrong = [
        *_wrong(record, _FIELDS),
        *_wrong(parts, dict.fromkeys(parts, _OBJECT)),
        *_wrong(attack, _ATTACK),
        *_wrong(clean, {"accuracy": _NUMBER}),
    ]
    if wrong:
        raise Damaged(f"{wrong[0]} has the wrong type")
    if not all(isinstance(each, str) for each in (*(record.get("flags") or ()), *_texts(record.get("names") or {}))):
        raise Damaged("a name or a flag is not a text")


def _wrong(found: Mapping[str, Any], types: Mapping[str, type | tuple[type, ...]]) -> list[str]:
    return [name for name, kind in types.items() if not isinstance(found.get(name), kind)]


def _texts(names: Mapping[str, Any]) -> list[Any]:
    return [name for name in names.values() if name is not None]


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
