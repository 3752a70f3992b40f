from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.paper_values import CELL, record, values

from frbench.harness.core.errors import ConfigError
from frbench.harness.reporting.paper.ours import Ours
from frbench.harness.reporting.paper.paper_table import Reason, paper_table
from frbench.harness.reporting.paper.readings import Reading, Verdict, read, readings

WORDS = ("small_size", "training_data", "pairs", "no_counterpart")
REASONS = {key: Reason(short=key.replace("_", " "), text=f"Because of {key}.") for key in WORDS}
COMPARABLE = {"training_data": {"settings": {"defense.faces.name": "ms1mv2"}}}
SAME = {"defense.faces.name": "ms1mv2"}


def first(*records: dict[str, Any], **changes: Any) -> Reading:
    """The reading of the first cell, which publishes 99.3."""
    table = paper_table(values(**{"comparable": COMPARABLE, "reasons": ["pairs"]} | changes), "some")
    return readings(table, list(records), lambda fingerprint: None, REASONS)[0]


def measured(low: float, high: float, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    clean = {"accuracy": (low + high) / 2, "accuracy_low": low, "accuracy_high": high, "pairs": 600}
    return record("a", settings=SAME if settings is None else settings, measurements={"clean": clean})


def test_that_a_published_value_inside_our_interval_is_within_and_outside_apart() -> None:
    within, apart = first(measured(0.98, 0.995)), first(measured(0.96, 0.99))
    assert (within.verdict, within.text) == (Verdict.WITHIN, "within")
    assert (apart.verdict, apart.notes) == (Verdict.APART, ("Because of pairs.",))
    assert apart.difference == pytest.approx(97.5 - 99.3)


def test_that_another_protocol_is_not_comparable_with_its_reasons_even_inside_the_interval() -> None:
    reading = first(measured(0.98, 0.995, settings={"dataset.limit": 8}))
    assert reading.text == "not comparable: small size, training data"
    assert reading.notes == ("Because of small_size.", "Because of training_data.")


def test_that_a_value_without_an_interval_is_neither_within_nor_apart() -> None:
    reading = first(record("a", settings=SAME, measurements={"clean": {"accuracy": 0.993, "pairs": 600}}))
    assert reading.text == "not comparable: our value has no interval"


def test_that_a_cell_without_a_record_gives_the_command_of_a_size_that_has_it() -> None:
    assert first().text == "not run: frbench run experiment=paper/some size=small"
    rows = {"one": {"label": "One", "size": "full"}}
    assert first(rows=rows).text == "not run: frbench run experiment=paper/some size=full"


def test_that_a_blank_cell_gives_its_reason_and_takes_no_record() -> None:
    reading = first(measured(0.98, 0.995), cells=[{**CELL, "ours": None, "reason": "no_counterpart"}])
    assert (reading.text, reading.ours) == ("not comparable: no counterpart", None)


def test_that_a_cell_without_a_published_value_is_ours_alone() -> None:
    assert first(measured(0.98, 0.995), cells=[]).text == "ours alone"


def test_that_a_refused_cell_gives_the_reason_of_the_record() -> None:
    refused = record("a", status="refused", reason="no gradient", measurements=None)
    assert first(refused).text == "no value: no gradient"


def test_that_an_unknown_reason_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"unknown reason weather; reasons\.yaml has small_size"):
        first(reasons=["weather"])


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100))
def test_that_within_is_an_interval_with_the_published_value(published: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    table = paper_table(values(cells=[{**CELL, "published": published}]), "some")
    reading = read(table, next(iter(table.places())), Ours((low + high) / 2, low, high), REASONS)
    assert (reading.verdict is Verdict.WITHIN) == (low <= published <= high)
