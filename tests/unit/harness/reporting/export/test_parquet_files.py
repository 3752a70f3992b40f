"""Parquet files are written one row group at a time."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frbench.harness.reporting.export import parquet_files
from frbench.harness.reporting.export.parquet_files import write_parquet

SCHEMA = pa.schema([("x", pa.int64())])


@pytest.mark.parametrize(("sizes", "groups"), [((2, 2, 3, 1), [4, 4]), ((5, 1), [5, 1]), ((), [])])
def test_that_rows_are_kept_in_groups(
    sizes: tuple[int, ...], groups: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "_ROWS", 4)
    parts = (pa.table({"x": list(range(size))}, schema=SCHEMA) for size in sizes)
    assert write_parquet(tmp_path / "x.parquet", SCHEMA, parts) == sum(sizes)
    found = pq.ParquetFile(tmp_path / "x.parquet").metadata
    assert [found.row_group(number).num_rows for number in range(found.num_row_groups)] == groups
    assert pq.read_table(tmp_path / "x.parquet").column("x").to_pylist() == [n for size in sizes for n in range(size)]
