"""The file of a plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frbench.harness.core.errors import CorruptFile
from frbench.harness.sweeps.plan import from_lines, to_lines
from tests.support.small_plans import small_plan


def test_that_a_plan_is_read_as_it_was_written() -> None:
    plan = small_plan()
    assert from_lines(to_lines(plan), "plan.jsonl") == plan


@given(st.integers(min_value=0, max_value=len(to_lines(small_plan())) - 2))
def test_that_a_plan_that_was_cut_is_refused_in_one_line(length: int) -> None:
    with pytest.raises(CorruptFile, match="plan.jsonl is not a whole plan") as error:
        from_lines(to_lines(small_plan())[:length], "plan.jsonl")
    assert "\n" not in str(error.value)


def test_that_only_overrides_that_vary_name_a_cell() -> None:
    plan = small_plan()
    assert plan.differing(plan.cells[3]) == ["attack.steps=3"]
