"""Columns that SQLite cannot hold: names that differ in case alone, quotes in names, too many of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pyarrow as pa
import pytest
from support.fake_records import NAMES, FakeStore

from frbench.harness.core.errors import ConfigError
from frbench.harness.reporting.export.pair_rows import PairTable
from frbench.harness.reporting.export.record_rows import record_table
from frbench.harness.reporting.export.sqlite_file import write_database
from frbench.harness.storage.result_store import ResultStore


def database(folder: Path, attack: dict[str, object]) -> sqlite3.Connection:
    cells = FakeStore()
    cells.add(NAMES, measurements={"clean": None, "attack": attack})
    records = record_table(cells.records(), lambda record: [])
    pairs = PairTable(ResultStore(folder), cells.records(), pa.schema([("record", pa.int64()), ("pair", pa.int64())]))
    write_database(folder / "all.sqlite", records, pairs)
    return sqlite3.connect(folder / "all.sqlite")


def test_that_names_that_differ_in_case_are_numbered(tmp_path: Path) -> None:
    found = database(tmp_path, {"C": 1, "c": 2}).execute('SELECT "C", "c_2" FROM records').fetchall()
    assert found == [(1, 2)]


def test_that_a_name_with_quotes_is_a_name(tmp_path: Path) -> None:
    name = 'x" INTEGER); DROP TABLE records; --'
    found = database(tmp_path, {name: 5})
    assert 5 in found.execute("SELECT * FROM records").fetchone()


def test_that_too_many_columns_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="frbench export parquet"):
        database(tmp_path, {f"x{number}": 1 for number in range(2000)})
