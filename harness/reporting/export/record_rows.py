"""Records as a typed table with one row per record: what ``cells.csv`` has, and more columns to select by. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from frbench.harness.storage.records import NOUNS, Record, plain, tidy_row

RECORD = "record"  # number of a record in an export
Flags = Callable[[Record], Sequence[str]]

_CARD = ("started", "seconds", "ms_per_image", "forwards", "backwards", "device", "git")
_BATCH = 500
_FLAG = "flag_"
_INFINITE = {"inf": float("inf"), "-inf": float("-inf")}
_IS_TEXT = re.compile(r"(^|_)reason$|^digest_|^git$")
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True)
class RecordTable:
    """The rows of records, made batch by batch, so that memory does not grow with their number.

    Attributes:
        records: in the order of their numbers.
        flags: the flags of a record, those of comparisons included.
        schema: names and types of the columns.
    """

    records: Sequence[Record]
    flags: Flags
    schema: pa.Schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows."""
        for first in range(0, len(self.records), _BATCH):
            rows = [
                _row(number, record, self.flags(record))
                for number, record in enumerate(self.records[first : first + _BATCH], first)
            ]
            arrays = [
                pa.array([_as(row.get(f.name, _absent(f.name)), f.type) for row in rows], f.type) for f in self.schema
            ]
            yield pa.record_batch(arrays, self.schema)


def record_table(records: Sequence[Record], flags: Flags) -> RecordTable:
    """The table of ``records``. It reads their values once for the types, and again for the rows."""
    kinds: dict[str, set[pa.DataType]] = {}
    for number, record in enumerate(records):
        for name, value in _row(number, record, flags(record)).items():
            kinds.setdefault(name, set()).add(_type(value))
    return RecordTable(records, flags, pa.schema([(name, _common(name, found)) for name, found in kinds.items()]))


def _row(number: int, record: Record, flags: Sequence[str]) -> dict[str, Any]:
    """The columns of ``tidy_row``, then the name of each option, and a column for each setting and flag."""
    card = record["card"] or {}
    digests = card.get("digests")
    key = {RECORD: number, "fingerprint": record["fingerprint"], "kind": record["kind"], "seed": record["seed"]}
    row = key | tidy_row(record, flags) | key  # first, and not replaced by a measurement of that name
    row |= {f"option_{noun}": name for noun in NOUNS if (name := record["names"].get(noun)) is not None}
    row |= {f"setting_{_identifier(key)}": value for key, value in record["settings"].items()}
    row |= {f"{_FLAG}{flag}": True for flag in flags}
    row |= {key: card[key] for key in _CARD if key in card}
    row |= {f"digest_{name}": each for name, each in (digests.items() if isinstance(digests, Mapping) else ())}
    return {_encodable(name): _plain(value) for name, value in row.items()}


def _identifier(text: str) -> str:
    return re.sub(r"\W", "_", text)


def _plain(value: Any) -> Any:
    """A number, a truth value, a text, or None."""
    value = plain(value)
    if isinstance(value, str):
        return _INFINITE.get(value) or _encodable(value)
    return value if value is None or isinstance(value, bool | int | float) else _encodable(str(value))


def _encodable(text: str) -> str:
    """``text`` without half characters, which JSON can hold and UTF-8 cannot."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _type(value: Any) -> pa.DataType:
    if value is None:
        return pa.null()
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int):
        return pa.int64() if value in _INT64 else pa.string()
    return pa.float64() if isinstance(value, float) else pa.string()


def _common(name: str, found: set[pa.DataType]) -> pa.DataType:
    """The type that holds values of all types ``found``; without any value, most columns are numbers."""
    found = found - {pa.null()}
    if not found:
        return pa.string() if _IS_TEXT.search(name) else pa.float64()
    if len(found) == 1:
        return found.pop()
    return pa.float64() if found == {pa.int64(), pa.float64()} else pa.string()


def _absent(name: str) -> bool | None:
    """The value of a column that a row lacks: it has no other flag than its own."""
    return False if name.startswith(_FLAG) else None


def _as(value: Any, kind: pa.DataType) -> Any:
    if pa.types.is_string(kind) and value is not None:
        return str(value)
    return value
