"""Fields of two runs are equal, within tolerance, or apart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frbench.harness.reporting.views.reproduction import Reading, compared, differences_table, differing_digest

NUMBERS = st.floats(-1e6, 1e6) | st.integers(-1000, 1000)


def run(attack: Any, **more: Any) -> dict[str, Any]:
    return {"status": "done", "kind": "verification", "flags": [], "measurements": {"attack": attack}} | more


def reading(recorded: Any, made: Any, tolerance: float = 0.01) -> Reading:
    (found,) = [
        each for each in compared(run({"x": recorded}), run({"x": made}), tolerance).fields if each.name == "attack.x"
    ]
    return found.reading


@pytest.mark.parametrize(
    ("recorded", "made", "expected"),
    [
        (0.5, 0.5, Reading.EQUAL),
        (0.5, 0.505, Reading.WITHIN),
        (0.5, 0.52, Reading.APART),
        (100.0, 100.9, Reading.WITHIN),
        (100.0, 102.0, Reading.APART),
        (19, 20, Reading.APART),
        (None, None, Reading.EQUAL),
        (None, 0.0, Reading.APART),
        ("inf", "inf", Reading.EQUAL),
        ("inf", 3.0, Reading.APART),
        (True, 1, Reading.APART),
        (["a"], ["a"], Reading.EQUAL),
        (["a"], ["b"], Reading.APART),
    ],
)
def test_that_a_field_reads_as_it_should(recorded: Any, made: Any, expected: Reading) -> None:
    assert reading(recorded, made) == expected


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(NUMBERS, NUMBERS, st.floats(0, 0.99))
def test_that_a_smaller_tolerance_never_reproduces_more(a: float, b: float, tolerance: float) -> None:
    assert reading(a, a, tolerance) == Reading.EQUAL
    if reading(a, b, tolerance / 2) != Reading.APART:
        assert reading(a, b, tolerance) != Reading.APART


def test_that_flags_status_and_absent_fields_count_and_new_ones_do_not() -> None:
    before = run({"asr": 0.5, "gone": 1}, flags=["not_converged"])
    after = run({"asr": 0.5, "new": 2}, flags=[], status="refused")
    found = compared(before, after, 0.01)
    assert [each.name for each in found.fields if each.reading == Reading.APART] == ["status", "flags", "attack.gone"]
    assert (found.new, found.reproduced) == (1, False)
    assert compared(before, before | {"flags": ["not_converged"]}, 0.0).reproduced


def test_that_the_table_lists_what_is_apart_first() -> None:
    found = compared(run({"a": 0.5, "b": 0.5, "c": 0.5}), run({"a": 0.505, "b": 0.7, "c": 0.5}), 0.01)
    table = differences_table(found)
    assert table is not None
    assert [row[0].value for row in table.rows] == ["attack.b", "attack.a"]
    assert [cell.value for cell in table.rows[0]] == ["attack.b", "0.5", "0.7", "+0.2", "apart"]
    assert differences_table(compared(run({}), run({}), 0.0)) is None


def test_that_weights_are_compared_by_their_digests() -> None:
    here = {"data": "a" * 64, "recognizer": "b" * 64, "surrogate": None}
    assert differing_digest(here, here) is None
    assert differing_digest({"data": "a" * 64}, here) is None
    assert "weights differ" in str(differing_digest(here | {"recognizer": "c" * 64}, here))
    assert "data differ" in str(differing_digest(here | {"data": "c" * 64}, here))
