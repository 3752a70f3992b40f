"""From a planned cell to its objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from frbench.harness.core.errors import ConfigError
from frbench.harness.sweeps.built_cells import built
from frbench.harness.sweeps.plan import from_lines, to_lines
from tests.support.small_sweeps import small_sweep


def test_that_a_plan_from_a_file_builds_the_same_cell(tmp_path: Path) -> None:
    plan = small_sweep(tmp_path, "attack.steps=1,2").plan
    again = from_lines(to_lines(plan))
    assert built(again, again.cells[1]).fingerprint() == plan.cells[1].key


def test_that_a_cell_with_a_wrong_value_says_so_again(tmp_path: Path) -> None:
    plan = small_sweep(tmp_path, "budget.radius=0.01,-1").plan
    with pytest.raises(ConfigError, match=r"budget\.radius"):
        built(plan, plan.cells[1])
