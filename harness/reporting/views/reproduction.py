"""Whether a second run of a cell has the numbers of its record, field by field. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from frbench.harness.reporting.tables.rendering import MISSING, Cell, Table
from frbench.harness.storage.records import Record, dotted

_DIGESTS = {"data": "data", "recognizer": "weights", "surrogate": "weights of the surrogate"}
_SHOWN = 12  # digits of a digest
_BESIDE = ("status", "kind", "flags")  # compared beside the measurements


class Reading(StrEnum):
    """How a field of two runs compares."""

    EQUAL = "equal"
    WITHIN = "within tolerance"
    APART = "apart"


@dataclass(frozen=True)
class Field:
    """A field of both runs.

    Attributes:
        name: its dotted place, such as ``attack.asr``.
        recorded: its value in the record; None where it is null or absent.
        made: its value in the new run.
        reading: how they compare.
    """

    name: str
    recorded: Any
    made: Any
    reading: Reading


@dataclass(frozen=True)
class Reproduction:
    """The comparison of a record with a new run.

    Attributes:
        fields: of the record, in its order.
        new: number of fields that only the new run has, as of a later version of frbench.
        tolerance: see ``compared``.
    """

    fields: tuple[Field, ...]
    new: int
    tolerance: float

    def count(self, reading: Reading) -> int:
        """The number of fields with this reading."""
        return sum(field.reading == reading for field in self.fields)

    @property
    def reproduced(self) -> bool:
        """Whether no field is apart."""
        return not self.count(Reading.APART)


def differing_digest(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """Which data or weights differ, in words; None where all digests that both have are equal.

    Args:
        recorded: ``card.digests`` of the record.
        here: the digests on this machine.
    """
    for name, words in _DIGESTS.items():
        theirs, ours = recorded.get(name), here.get(name)
        if theirs is not None and ours is not None and theirs != ours:
            return f"{words} differ: SHA-256 {str(theirs)[:_SHOWN]}… in the record, {str(ours)[:_SHOWN]}… here"
    return None


def compared(record: Record, made: Record, tolerance: float) -> Reproduction:
    """Compare all measurements, the status, the kind and the flags of two runs.

    Args:
        record: of the first run.
        made: of the second run.
        tolerance: largest difference of two numbers that are ``within tolerance``: absolute for numbers up to 1, such
            as shares, and relative for larger ones.
    """
    before, after = _fields(record), _fields(made)
    found = tuple(
        Field(name, value, after.get(name), _reading(value, after.get(name), tolerance))
        for name, value in before.items()
    )
    return Reproduction(found, len(after.keys() - before.keys()), tolerance)


def differences_table(found: Reproduction) -> Table | None:
    """The fields that are not equal, those that are apart first; None if all are equal."""
    unequal = [field for field in found.fields if field.reading != Reading.EQUAL]
    rows = [
        tuple(map(Cell, (each.name, _text(each.recorded), _text(each.made), _difference(each), each.reading.value)))
        for each in sorted(unequal, key=lambda each: each.reading != Reading.APART)
    ]
    header = ("field", "record", "this run", "difference", "reading")
    caption = f"Tolerance: {found.tolerance:g}, relative for numbers above 1."
    return Table("reproduction", "Fields that differ", caption, header, tuple(rows), 1) if rows else None


def _fields(record: Record) -> dict[str, Any]:
    found = {name: record.get(name) for name in _BESIDE}
    found["flags"] = sorted(map(str, record.get("flags") or []))
    return found | dict(dotted(record.get("measurements") or {}))


def _reading(recorded: Any, made: Any, tolerance: float) -> Reading:
    if recorded == made and isinstance(recorded, bool) == isinstance(made, bool):
        return Reading.EQUAL
    if not (_is_number(recorded) and _is_number(made)):
        return Reading.APART
    return Reading.WITHIN if abs(made - recorded) <= tolerance * max(1.0, abs(recorded)) else Reading.APART


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _text(value: Any) -> str:
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False, default=str)


def _difference(field: Field) -> str:
    if not (_is_number(field.recorded) and _is_number(field.made)):
        return MISSING
    return f"{field.made - field.recorded:+.3g}"
