"""A comparison in words and tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.comparisons import compared
from support.fake_records import NAMES, FakeStore, attacked, decided

from frbench.harness.reporting.views import comparison_tables as tables
from frbench.harness.reporting.views.comparison import Comparison


def two(won_a: list[bool], won_b: list[bool], **more: Any) -> Comparison:
    store = FakeStore()
    pair = (decided(store, {"defense": name}, won, **more) for name, won in (("none", won_a), ("jpeg", won_b)))
    return compared(store, *pair)


def test_that_a_run_is_named_by_its_options() -> None:
    record = attacked(FakeStore(), NAMES, 8.0, 0.4)
    assert tables.run_words(record) == "pgd, defense jpeg, dodging, L∞ ≤ 8/255, adaptive, tiny, LFW, 240 pairs"


def test_that_counts_and_the_test_say_which_run_succeeds_more_often() -> None:
    found = two([True] * 9 + [False], [False] * 9 + [True])
    (part,) = found.parts
    assert [[cell.value for cell in row] for row in tables.counts_table(found).rows] == [
        ["A succeeds", "0", "9"],
        ["A fails", "1", "0"],
    ]
    assert "+80.0 percentage points" in tables.test_sentence(part)
    assert "p = 0.0215: the ASR of A is higher (exact two-sided McNemar test" in tables.test_sentence(part)
    equal = two([True, False], [True, False])
    assert "no significant difference" in tables.test_sentence(equal.parts[0])
    assert tables.flipped_sentence(equal, 0) == "No pair flipped: both succeed on the same pairs."


def test_that_several_distances_are_one_table_with_corrected_p_values() -> None:
    store = FakeStore()
    runs = {"none": [True] * 12, "jpeg": [True] * 6 + [False] * 6}
    records = [
        decided(store, {"defense": name, "protocol": "feature_distance"}, won, {"distance": [0.9] * 6 + [0.4] * 6})
        for name, won in runs.items()
    ]
    table = tables.counts_table(compared(store, *records))
    assert [[cell.value for cell in row] for row in table.rows] == [
        ["q = 0.9", "6", "6", "0", "0", "0", "+0.0", "1.0000", "="],
        ["q = 0.4", "6", "0", "6", "0", "0", "+100.0", "0.0625", "="],
    ]
    assert "images" in table.header and "Holm" in table.caption


def test_that_pairs_that_are_left_out_are_counted() -> None:
    store = FakeStore()
    a = decided(store, {"defense": "none"}, [True] * 6, columns={"correct": [True] * 5 + [False]})
    b = decided(store, {"defense": "jpeg"}, [True] * 8)
    assert tables.overlap_sentence(compared(store, a, b)) == (
        "5 pairs are compared; left out: 2 only in B, 1 counted only in B."
    )
    assert tables.overlap_sentence(compared(store, a, a)) == "5 pairs are compared, all of both runs that count."


def test_that_flipped_pairs_have_numbers_photos_scores_and_sizes_of_both_runs() -> None:
    columns = {"probe": "Ann_Lee/Ann_Lee_0001.jpg", "reference": "p_1/photo_2", "l2": [0.5, np.nan], "queries": 7}
    table = tables.flipped_table(two([True, True], [True, False], columns=columns))
    assert dict(zip(table.header, (cell.value for cell in table.rows[0]), strict=True)) == {
        "number": "1",
        "alone": "A",
        "probe": "Ann_Lee_0001",
        "reference": "p_1/photo_2",
        "margin A": "−0.300",
        "margin B": "−0.300",
        "score A": "0.000",
        "score B": "0.000",
        "threshold A": "0.300",
        "threshold B": "0.300",
        "clean score A": "0.500",
        "clean score B": "0.500",
        "L2 A": "–",
        "L2 B": "–",
        "queries A": "7",
        "queries B": "7",
    }


def test_that_only_the_first_flipped_pairs_are_listed_where_asked() -> None:
    found = two([True] * 5, [False] * 5)
    assert len(tables.flipped_table(found, 2).rows) == 2
    assert tables.flipped_sentence(found, 2) == (
        "5 pairs flipped: A alone succeeds on 5, B alone on 0; 2 are listed, those with the largest difference of the "
        "margins."
    )


def test_that_attacks_that_stop_at_success_are_compared_by_size() -> None:
    sizes = {"l2": np.linspace(1, 2, 10)}
    store = FakeStore()
    a = decided(store, {"defense": "none"}, [True] * 10, sizes, flags=["boundary_attack"])
    b = decided(store, {"defense": "jpeg"}, [True] * 9 + [False], {"l2": sizes["l2"] * 2}, flags=["boundary_attack"])
    text = tables.sizes_sentence(compared(store, a, b))
    assert "A to B, is 0.50" in text and "0 are larger in A, 10 in B, p = 0.0020" in text
    assert tables.sizes_sentence(two([True], [True])) == ""
    assert tables.sizes_sentence(two([True], [True], flags=["boundary_attack"])) == "", "records without sizes"


@pytest.mark.parametrize("kind", ["none", "refused"])
def test_that_runs_without_a_result_have_tables_too(kind: str) -> None:
    store = FakeStore()
    record = store.add(NAMES, status="refused", reason="no gradients")
    found = compared(store, record, attacked(store, NAMES | {"defense": "blur"}, 8.0, 0.4))
    assert [row[1].value for row in tables.rates_table(found).rows][:1] == ["refused"]
    assert tables.differences_table(found).rows and tables.overlap_sentence(found) == ""
