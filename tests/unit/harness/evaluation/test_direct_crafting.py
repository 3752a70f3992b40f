"""Pairs of a caller's images, and the thresholds by which attacks on them are judged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.toy_cells import NoDefense, NoiseDefense

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.core.face_data import PairSet
from frbench.harness.evaluation.direct_crafting import Parts, craft, given_pairs
from frbench.harness.evaluation.execution import Execution
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.goals import Dodging, Impersonation
from frbench.harness.threat_model.threats import Adaptive, Oblivious


@pytest.fixture
def execution(tmp_path: Path) -> Execution:
    return Execution(ResultStore(tmp_path), seed=0, batch_size=4, device=torch.device("cpu"))


@pytest.fixture
def parts(linear: Callable[..., Any]) -> Parts:
    return Parts(ProjectedDescent(steps=3), linear(), Dodging(), Linf(8 / 255), Oblivious(), NoDefense())


def test_that_references_stand_in_for_decoys() -> None:
    images = torch.rand(3, 3, 8, 8)
    batch = given_pairs(images, images.flip(0), None, Dodging()).batch(torch.tensor([2, 0]).numpy())
    assert batch.decoy is batch.reference and torch.equal(batch.probe, images[[2, 0]])
    other = given_pairs(images, images, images.flip(0), Dodging()).batch(torch.tensor([0]).numpy())
    assert torch.equal(other.decoy, images[2:])


@pytest.mark.parametrize("goal", [Dodging(), Impersonation()])
def test_that_every_given_pair_is_eligible(goal: Any) -> None:
    images = torch.rand(3, 3, 8, 8)
    assert goal.eligible(given_pairs(images, images, None, goal).same).all()


def test_that_nothing_is_kept(parts: Parts, execution: Execution, pair_set: Callable[..., PairSet]) -> None:
    crafted = craft(parts, pair_set(), None, execution)
    assert crafted.achieved is not None and len(crafted.images) == len(crafted.index) == 20
    assert not list(execution.store.root.iterdir())


def test_that_a_threshold_may_differ_by_pair(parts: Parts, execution: Execution) -> None:
    images, references = torch.rand(5, 3, 8, 8), torch.rand(5, 3, 8, 8)
    pairs = given_pairs(images, references, None, parts.goal)
    thresholds = torch.tensor([-1.0, 1.0, -1.0, 1.0, 1.0])
    achieved = craft(parts, pairs, thresholds, execution).achieved
    assert achieved is not None and achieved.tolist() == [False, True, False, True, True]


def test_that_a_random_defense_decides_by_majority(parts: Parts, execution: Execution) -> None:
    images = torch.rand(5, 3, 8, 8)
    random = parts._replace(defense=NoiseDefense(), threat=Adaptive(eot_samples=2))
    pairs = given_pairs(images, images, None, random.goal)
    first, again = (craft(random, pairs, 0.5, execution) for _ in range(2))
    assert torch.equal(first.images, again.images) and torch.equal(first.scores, again.scores)
    assert first.achieved is not None and torch.equal(first.achieved, first.scores <= 0.5)
