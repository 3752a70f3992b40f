"""Records and pairs as a SQLite database, with typed columns and indexes."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from frbench.harness.core.errors import ConfigError
from frbench.harness.reporting.export.pair_rows import PAIR, PairTable
from frbench.harness.reporting.export.record_rows import RECORD, RecordTable
from frbench.harness.storage.records import NOUNS

_MOST_COLUMNS = 2000  # of a table, SQLite's default
_TYPES = ((pa.types.is_boolean, "INTEGER"), (pa.types.is_integer, "INTEGER"), (pa.types.is_floating, "REAL"))
_INDEXED = {"records": ("fingerprint", "status", *NOUNS), "pairs": (PAIR,)}


def write_database(path: Path, records: RecordTable, pairs: PairTable) -> int:
    """Write the empty file ``path``. Returns the number of rows of the table ``pairs``.

    Raises:
        ConfigError: more columns than a table of SQLite has.
        OSError: there is no room.
    """
    keys = {"records": f'PRIMARY KEY ("{RECORD}")', "pairs": f'FOREIGN KEY ("{RECORD}") REFERENCES records'}
    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA journal_mode=OFF")  # the file appears under its name when it is whole
            database.execute("PRAGMA synchronous=OFF")
            _insert(database, "records", records.schema, keys["records"], records.batches())
            count = _insert(database, "pairs", pairs.schema, keys["pairs"], pairs.tables())
            _index(database, {"records": records.schema.names, "pairs": pairs.schema.names})
            database.commit()
            return count
    except sqlite3.Error as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, str(error)) from error
        raise


def _insert(
    database: sqlite3.Connection, table: str, schema: pa.Schema, key: str, parts: Iterable[pa.RecordBatch | pa.Table]
) -> int:
    names = _distinct(schema.names)
    if len(names) > _MOST_COLUMNS:
        raise ConfigError(
            f"the table {table} has {len(names)} columns and SQLite takes {_MOST_COLUMNS}; export fewer records with "
            "where.NAME=VALUE, or take frbench export parquet"
        )
    columns = [f"{_quoted(name)} {_type(field.type)}" for name, field in zip(names, schema, strict=True)]
    database.execute(f"CREATE TABLE {table} ({', '.join((*columns, key))})")
    insertion = f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})"
    count = 0
    for part in parts:
        database.executemany(insertion, zip(*(column.to_pylist() for column in part.columns), strict=True))
        count += len(part)
    return count


def _index(database: sqlite3.Connection, columns: Mapping[str, Sequence[str]]) -> None:
    for table, names in _INDEXED.items():
        for name in (each for each in names if each in columns[table]):
            database.execute(f"CREATE INDEX {_quoted(f'{table}_by_{name}')} ON {table} ({_quoted(name)})")
    database.execute(f'CREATE INDEX "pairs_by_record" ON pairs ("{RECORD}", "{PAIR}")')
    database.execute("ANALYZE")


def _distinct(names: Iterable[str]) -> list[str]:
    """``names``, numbered where two differ in their case alone, which SQLite ignores."""
    found: dict[str, int] = {}
    distinct = []
    for name in names:
        found[name.lower()] = number = found.get(name.lower(), 0) + 1
        distinct.append(name if number == 1 else f"{name}_{number}")
    return distinct


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _type(kind: pa.DataType) -> str:
    return next((name for applies, name in _TYPES if applies(kind)), "TEXT")
