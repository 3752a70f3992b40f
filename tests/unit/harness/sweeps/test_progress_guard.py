"""A cell that starts again and again without storing anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from frbench.harness.runtime import activity
from frbench.harness.sweeps.progress_guard import ProgressGuard, advice
from tests.support.small_plans import small_folder


@pytest.fixture(autouse=True)
def no_listener() -> Iterator[None]:
    yield
    activity.on_kept(None)


def test_that_a_cell_that_was_killed_twice_without_progress_does_not_start_again(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    cell = folder.plan.cells[0]
    assert ProgressGuard(folder).may_start(cell) and ProgressGuard(folder).may_start(cell)
    assert not ProgressGuard(folder).may_start(cell)
    assert ProgressGuard(folder).may_start(folder.plan.cells[1]), "other cells may"


def test_that_a_stored_block_is_progress(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    cell = folder.plan.cells[0]
    for _ in range(5):
        assert ProgressGuard(folder).may_start(cell)
        activity.kept()


def test_that_a_cell_that_ends_leaves_no_file(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    guard = ProgressGuard(folder)
    guard.may_start(folder.plan.cells[0])
    guard.ends(folder.plan.cells[0])
    assert not list((folder.root / "starts").glob("*"))


@pytest.mark.parametrize(("minutes", "words"), [(None, "run longer"), (30, "launcher.timeout_min=60")])
def test_that_the_advice_names_the_time_to_ask_for(minutes: int | None, words: str) -> None:
    assert words in advice(minutes)
