"""From the words of a command to the plan of its sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

from frbench.harness.config.running import cell_configs
from frbench.harness.core.errors import ConfigError
from frbench.harness.sweeps.built_cells import built
from frbench.harness.sweeps.planning import changed_code, code_facts, plan_sweep
from tests.support.small_sweeps import SMALL, small_sweep


def test_that_the_id_depends_on_the_cells_and_not_on_their_order_or_the_machine(tmp_path: Path) -> None:
    one = small_sweep(tmp_path / "a", "goal=dodging,impersonation").plan
    other = small_sweep(tmp_path / "b", "goal=impersonation,dodging", "batch_size=8").plan
    more = small_sweep(tmp_path / "a", "goal=dodging,impersonation", "seed=1").plan
    assert one.id == other.id != more.id
    assert one.id.startswith("sweep-")


def test_that_equal_cells_are_planned_once_and_equal_parts_stored_once(tmp_path: Path) -> None:
    plan = small_sweep(tmp_path, "goal=dodging,impersonation", "seed=0,0").plan
    assert len(plan.cells) == 2
    assert plan.cells[0].parts["dataset"] == plan.cells[1].parts["dataset"]
    assert built(plan, plan.cells[1]).names["goal"] == "impersonation"


def test_that_cells_of_several_results_folders_are_no_sweep(tmp_path: Path) -> None:
    command = ("-m", *SMALL, f"paths.results={tmp_path / 'a'},{tmp_path / 'b'}")
    with pytest.raises(ConfigError, match=r"paths\.results takes one value"):
        plan_sweep(command, cell_configs(command))


def test_that_changed_versions_and_source_are_named() -> None:
    now = code_facts()
    assert changed_code(now) is None
    assert changed_code({**now, "torch": "1.0", "source": "other"}) == (
        f"torch 1.0 -> {now['torch']}, the source of frbench"
    )
