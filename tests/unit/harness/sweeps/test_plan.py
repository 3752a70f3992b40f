"""The file of a plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frbench.harness.core.quarantine import Damaged
from frbench.harness.sweeps.plan import from_lines, to_lines
from tests.support.small_plans import small_plan


def test_that_a_plan_is_read_as_it_was_written() -> None:
    plan = small_plan()
    assert from_lines(to_lines(plan)) == plan


TEXT = to_lines(small_plan())


@given(st.integers(0, len(TEXT) - 1))
def test_that_a_plan_that_was_cut_is_damaged(length: int) -> None:
    with pytest.raises(Damaged, match="not a whole plan"):
        from_lines(TEXT[:length])


@given(st.integers(0, len(TEXT) - 1), st.integers(0, 6))
def test_that_a_flipped_bit_of_a_plan_is_noticed(place: int, bit: int) -> None:
    with pytest.raises(Damaged):
        from_lines(TEXT[:place] + chr(ord(TEXT[place]) ^ 1 << bit) + TEXT[place + 1 :])


def test_that_only_overrides_that_vary_name_a_cell() -> None:
    plan = small_plan()
    assert plan.differing(plan.cells[3]) == ["attack.steps=3"]


def test_that_only_what_the_remaining_cells_need_is_work() -> None:
    plan = small_plan()
    assert [group.number for group in plan.groups_with_work(())] == [0, 1, 2, 3]
    assert [group.number for group in plan.groups_with_work((0, 1))] == [0, 1, 3]
    assert plan.groups_with_work((0, 1, 2, 3)) == []
