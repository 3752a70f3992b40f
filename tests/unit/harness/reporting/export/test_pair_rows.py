"""Scores of records with other columns stand in one table."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from frbench.harness.reporting.export.pair_rows import pair_table

TABLES = {
    "a": pa.table({"index": [7, 8], "success": [True, False], "l2": pa.array([0.5, 1.5], pa.float32())}),
    "b": pa.table({"index": [9], "distance": ["x"], "l2": [2]}),
}


class Files:
    """Scores in memory."""

    def score_schema(self, fingerprint: str) -> Any:
        return TABLES[fingerprint].schema if fingerprint in TABLES else None

    def score_table(self, fingerprint: str) -> Any:
        return TABLES.get(fingerprint)


def test_that_a_record_has_null_in_columns_that_it_lacks() -> None:
    found = pair_table(Files(), [{"fingerprint": name} for name in ("a", "absent", "b")])
    rows = pa.concat_tables(found.tables()).to_pylist()
    assert rows == [
        {"record": 0, "pair": 7, "success": True, "l2": 0.5, "distance": None},
        {"record": 0, "pair": 8, "success": False, "l2": 1.5, "distance": None},
        {"record": 2, "pair": 9, "success": None, "l2": 2.0, "distance": "x"},
    ]
    assert found.schema.field("l2").type == pa.float64()
