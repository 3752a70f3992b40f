"""Tables of cells without a result, and of files that are left out."""

from __future__ import annotations

from support.fake_records import NAMES, FakeStore, sweep

from frbench.harness.reporting.views.unfinished import left_out_table, unfinished_table


def test_refused_and_crashed_cells_have_their_reasons() -> None:
    store = FakeStore()
    store.add(NAMES, status="refused", reason="needs gradients")
    store.add(NAMES | {"attack": "cw"}, status="crashed", reason="Traceback\nValueError: boom")
    table = unfinished_table(store.records())
    assert table is not None
    assert [(row[2].value, row[-2].value, row[-1].value) for row in table.rows] == [
        ("pgd", "refused", "needs gradients"),
        ("cw", "crashed", "ValueError: boom"),
    ]
    assert unfinished_table(sweep().records()) is None


def test_files_that_are_left_out_are_named() -> None:
    table = left_out_table({"huge": "1 GB", "a": "schema 9"})
    assert table is not None
    assert [[cell.value for cell in row] for row in table.rows] == [["a.json", "schema 9"], ["huge.json", "1 GB"]]
    assert left_out_table({}) is None
