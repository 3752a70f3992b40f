"""What trackers predicted is kept: an interrupted cell continues, and attacks share the training without cloaks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import pytest
from support.cloaked_cells import cloaking_cell, negatives
from torch import Tensor

from frbench.harness.core.face_data import PairBatch
from frbench.harness.evaluation.cell import run_cell
from frbench.harness.protocols.cloaking.trackers.base import Predictions, Scenario, SplitData
from frbench.harness.protocols.cloaking.trackers.nearest import NearestNeighbour
from frbench.harness.storage.result_store import Record, ResultStore


@dataclass(frozen=True)
class Slow(NearestNeighbour):
    """A tracker that lists the users of each training and is killed in training number ``dies_in``."""

    identity = "tracker.slow"
    version = 1
    trainings_per_file: ClassVar[int] = 1

    trained: list[int | None] = field(default_factory=list, compare=False)
    dies_in: int | None = field(default=None, compare=False)

    def predict(self, split: SplitData, scenarios: Sequence[Scenario]) -> Iterator[Predictions]:
        for scenario, found in zip(scenarios, super().predict(split, scenarios), strict=True):
            if len(self.trained) == self.dies_in:
                raise KeyboardInterrupt
            self.trained.append(scenario.user)
            yield found


def half(pairs: PairBatch) -> Tensor:
    return (pairs.probe + pairs.decoy) / 2


def result(record: Record) -> str:
    assert record["status"] == "done", record["reason"]
    return json.dumps(record["measurements"])


def test_an_interrupted_cell_continues_with_its_next_training(tmp_path: Path) -> None:
    whole = Slow()
    expected = result(run_cell(cloaking_cell(negatives, protocol={"tracker": whole}), ResultStore(tmp_path / "whole")))
    stopped, again, store = Slow(dies_in=8), Slow(), ResultStore(tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        run_cell(cloaking_cell(negatives, protocol={"tracker": stopped}), store)
    assert result(run_cell(cloaking_cell(negatives, protocol={"tracker": again}), store)) == expected
    assert stopped.trained + again.trained == whole.trained
    assert len(stopped.trained) == 8


def test_attacks_share_the_training_without_cloaks(tmp_path: Path) -> None:
    first, second, store = Slow(), Slow(), ResultStore(tmp_path)
    result(run_cell(cloaking_cell(negatives, protocol={"tracker": first}), store))
    found = result(run_cell(cloaking_cell(half, protocol={"tracker": second}), store))
    assert first.trained.count(None) == 3, "once in each split"
    assert [user for user in first.trained if user is not None] == second.trained
    alone = result(run_cell(cloaking_cell(half, protocol={"tracker": Slow()}), ResultStore(tmp_path / "alone")))
    assert found == alone


def test_another_tracker_seed_or_defense_trains_again(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    result(run_cell(cloaking_cell(negatives, protocol={"tracker": Slow()}), store))
    other = Slow(users=2)
    result(run_cell(cloaking_cell(negatives, protocol={"tracker": other}), store))
    assert len(other.trained) == 3 * (1 + 2)
    seeded = Slow()
    result(run_cell(replace(cloaking_cell(negatives, protocol={"tracker": seeded}), seed=1), store))
    assert len(seeded.trained) == 3 * (1 + 5)
