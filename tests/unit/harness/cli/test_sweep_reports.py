"""What a sweep prints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from frbench.harness.cli.sweep_reports import PrintedCells, plan_text
from frbench.harness.sweeps.estimate import Cost, Estimate
from frbench.harness.sweeps.failures import Failure, FailureKind
from frbench.harness.sweeps.plan import with_cells
from tests.support.small_plans import small_plan


def test_that_a_plan_counts_images_after_sharing() -> None:
    plan = small_plan()
    assert plan_text(plan, (), None).splitlines()[1:] == [
        "jobs: 1 fit, 1 clean, 2 cells; 1 defense to fit",
        "adversarial images: 2 sets to make, for 4 cells",
    ]
    assert "adversarial images: 1 set to make, for 2 cells" in plan_text(plan, (0,), None)


def test_that_an_estimate_says_what_it_leaves_out() -> None:
    cost = Estimate(Cost(1200, 96000, 48000, 5400, 2.5e8), {1: "its defense is not fitted yet"})
    assert plan_text(small_plan(), (), cost).splitlines()[-2:] == [
        "estimate for one process on this machine: 1,200 images to make, 96,000 forward and 48,000 backward passes, "
        "90 min, 250.0 MB of images",
        "1 cell without an estimate: its defense is not fitted yet",
    ]


def test_that_cells_without_data_are_counted_by_their_reason() -> None:
    plan = small_plan()
    cells = [replace(cell, key=None, unknown="lfw is not there") for cell in plan.cells]
    assert "4 cells whose data cannot be opened: lfw is not there" in plan_text(
        with_cells(plan, cells, plan.groups), (), None
    )


def test_that_a_failure_without_a_record_is_one_line_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = small_plan()
    printed = PrintedCells(plan, tmp_path)
    printed.failure(plan.cells[2], Failure(FailureKind.CRASHED, "Traceback\nValueError: x"))
    printed.end()
    out, err = capsys.readouterr()
    assert err == "frbench: attack.steps=2: ValueError: x\n"
    assert out.startswith("1 cell: 1 failed")
