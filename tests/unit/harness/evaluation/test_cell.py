"""Checks that a protocol evaluates its own kind of data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.fake_services import told
from support.toy_cells import toy_cell

from frbench.harness.core.errors import DiskFull, FrbenchError
from frbench.harness.evaluation.cell import Cell, run_cell
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.goals import Cloak


def test_that_verification_refuses_the_goal_of_a_cloak(pair_set: Callable, linear: Callable, tmp_path: Path) -> None:
    with pytest.raises(FrbenchError) as error:
        run_cell(toy_cell(pair_set(), linear(), goal=Cloak()), ResultStore(tmp_path))
    assert "goal=toy is for users with their photos" in told(error)


def test_that_a_disk_without_room_is_no_crash_of_the_cell(pair_set: Callable, linear: Callable, tmp_path: Path) -> None:
    """Not every file of a run is written by the store."""

    def fit(cell: Cell) -> Cell:
        with open("/dev/full", "wb") as file:
            file.write(b"x")
        return cell

    store = ResultStore(tmp_path)
    with pytest.raises(DiskFull, match="make room"):
        run_cell(toy_cell(pair_set(), linear(), fit=fit), store)
    assert store.records() == []
