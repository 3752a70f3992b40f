"""Columns of records have the type of their values, whatever the records hold."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_records import NAMES, FakeStore

from frbench.harness.reporting.export import record_rows
from frbench.harness.reporting.export.record_rows import record_table

VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5))


def column(values: list[Any]) -> pa.ChunkedArray:
    """The column of a measurement with these values, one for each record."""
    cells = FakeStore()
    for number, value in enumerate(values):
        cells.add(NAMES, measurements={"clean": None, "attack": {"x": value}}, salt=number)
    table = record_table(cells.records(), lambda record: record["flags"])
    return pa.Table.from_batches(list(table.batches()), table.schema).column("x")


@pytest.mark.parametrize(
    ("values", "kind", "kept"),
    [
        ([1, None], pa.int64(), [1, None]),
        ([1, 2.5], pa.float64(), [1.0, 2.5]),
        ([2.5, "inf"], pa.float64(), [2.5, math.inf]),
        ([True, False], pa.bool_(), [True, False]),
        ([1, "a"], pa.string(), ["1", "a"]),
        ([None, None], pa.float64(), [None, None]),
        ([2**70], pa.string(), [str(2**70)]),
        ([["a", "b"]], pa.string(), ["a;b"]),
    ],
)
def test_that_a_column_has_the_type_that_holds_its_values(
    values: list[Any], kind: pa.DataType, kept: list[Any]
) -> None:
    found = column(values)
    assert found.type == kind
    assert found.to_pylist() == kept


@settings(max_examples=30, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=4))
def test_that_any_values_make_a_column(values: list[Any]) -> None:
    assert column(values).null_count == values.count(None)


def test_that_rows_are_made_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_rows, "_BATCH", 2)
    cells = FakeStore()
    for number in range(5):
        cells.add(NAMES, salt=number)
    batches = list(record_table(cells.records(), lambda record: []).batches())
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert [number for batch in batches for number in batch.column("record").to_pylist()] == [0, 1, 2, 3, 4]


def test_that_a_hostile_record_is_a_row_like_any_other() -> None:
    cells = FakeStore()
    attack = {"record": "x", "kind": 1, "\ud800": "\ud800", "fingerprint": None}
    cells.add(
        NAMES | {"attack": "\udfff"}, settings={"a.\ud800": {"b": [1]}}, measurements={"clean": None, "attack": attack}
    )
    (record,) = cells.records()
    record["card"] = {"digests": [1], "seconds": {"x": 1}}
    table = record_table([record], lambda record: ["a flag"])
    (row,) = pa.Table.from_batches(list(table.batches()), table.schema).to_pylist()
    assert (row["record"], row["kind"], row["fingerprint"]) == (0, "verification", record["fingerprint"])
    assert row["?"] == "?"
    assert row["flag_a flag"] is True
