"""Scores as one typed table with one row per record and pair, read record by record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from frbench.harness.reporting.export.record_rows import RECORD
from frbench.harness.storage.records import Record

PAIR = "pair"  # number of a pair in its data set; ``index`` in the scores, which is a word of SQL
_INDEX = "index"


class ScoreFiles(Protocol):
    """Where the scores of records are, by fingerprint; None for a record without scores."""

    def score_schema(self, fingerprint: str) -> pa.Schema | None:
        """Names and types of the columns."""
        ...

    def score_table(self, fingerprint: str) -> pa.Table | None:
        """The scores, a row per pair, verified."""
        ...


@dataclass(frozen=True)
class PairTable:
    """The rows of the scores of records.

    Attributes:
        files: where the scores are.
        records: in the order of their numbers in the table of records.
        schema: names and types of the columns: of all scores together, so that a record may lack some.
    """

    files: ScoreFiles
    records: Sequence[Record]
    schema: pa.Schema

    def tables(self) -> Iterator[pa.Table]:
        """The rows of each record that has scores, with null in columns that it lacks."""
        for number, record in enumerate(self.records):
            table = self.files.score_table(record["fingerprint"])
            if table is not None:
                yield self._conformed(number, table)

    def _conformed(self, number: int, table: pa.Table) -> pa.Table:
        names = [PAIR if name == _INDEX else name for name in table.column_names]
        columns = dict(zip(names, table.columns, strict=True))
        columns[RECORD] = pa.repeat(pa.scalar(number, pa.int64()), len(table))
        arrays = [
            columns[field.name].cast(field.type) if field.name in columns else pa.nulls(len(table), field.type)
            for field in self.schema
        ]
        return pa.table(arrays, schema=self.schema)


def pair_table(files: ScoreFiles, records: Sequence[Record]) -> PairTable:
    """The table of the scores of ``records``. It reads the names of their columns once, and later the rows."""
    types = {RECORD: pa.int64(), PAIR: pa.int64()}
    for record in records:
        for field in files.score_schema(record["fingerprint"]) or ():
            if field.name != _INDEX:
                types[field.name] = _wider(types.get(field.name), field.type)
    return PairTable(files, records, pa.schema(list(types.items())))


def _wider(known: pa.DataType | None, found: pa.DataType) -> pa.DataType:
    """The type that holds values of both."""
    if known is None or known == found:
        return found
    return pa.float64() if all(map(_is_number, (known, found))) else pa.string()


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
