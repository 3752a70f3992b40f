"""``craft`` attacks a caller's images as a cell attacks its pairs; parts are options or objects of one's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from support.python_cells import FACES, folders
from torch import nn

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness import api
from frbench.harness.core.contracts import Attack, AttackResult, Budget, Goal, View
from frbench.harness.core.errors import ConfigError, FrbenchError, Refused
from frbench.harness.core.face_data import PairBatch, PairSet
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.threats import Adaptive

TINY = api.recognizer("tiny", min_clean_accuracy=None)
PGD = api.attack("pgd", steps=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return folders(tmp_path_factory, "craft")


@pytest.fixture(scope="module")
def pairs(run: dict[str, Any]) -> PairSet:
    found: PairSet = api.dataset("synthetic", **FACES).load(**run)
    return found


@pytest.fixture(scope="module")
def batch(pairs: PairSet) -> PairBatch:
    """Three genuine pairs."""
    return pairs.batch(pairs.attacked[pairs.same[pairs.attacked]][:3])


def test_that_pairs_get_the_images_and_decisions_of_a_cell(run: dict[str, Any]) -> None:
    faces = api.dataset("synthetic", **FACES)
    blur = api.defense("blur")
    quick = api.protocol("verification", bootstrap=20, num_samples=0, **{"~postprocessing": None})
    cell = {"attack": PGD, "recognizer": TINY, "budget": "linf_4", "threat": "adaptive", "defense": blur, **run}
    result = api.evaluate(dataset=faces, protocol=quick, **cell)
    crafted = api.craft(pairs=faces, **cell)
    assert result.pairs is not None
    assert torch.equal(crafted.images, result.images().adversarial)
    assert crafted.index.tolist() == result.pairs["index"].tolist()
    assert crafted.achieved is not None and crafted.achieved.tolist() == result.pairs["success"].tolist()
    np.testing.assert_allclose(crafted.scores, result.pairs["adversarial_score"], atol=1e-6)
    np.testing.assert_allclose(crafted.sizes["linf"], result.pairs["linf"], rtol=1e-5)


def test_that_images_stay_within_the_budget_and_achieve_by_the_threshold(batch: PairBatch, run: dict[str, Any]) -> None:
    crafted = api.craft(PGD, TINY, batch.probe, batch.reference, budget="linf_4", threshold=0.5, **run)
    assert crafted.achieved is not None and torch.equal(crafted.achieved, crafted.scores <= 0.5)
    assert float(crafted.sizes["linf"].max()) <= 4 + 1e-3
    scores = (api.embed(TINY, crafted.images, **run) * api.embed(TINY, batch.reference, **run)).sum(dim=1)
    torch.testing.assert_close(crafted.scores, scores, atol=1e-5, rtol=0)
    free = api.craft(PGD, TINY, batch.probe, batch.reference, budget="linf_4", **run)
    assert free.achieved is None and torch.equal(free.images, crafted.images)


def test_that_impersonation_raises_the_score(pairs: PairSet, run: dict[str, Any]) -> None:
    others = pairs.batch(pairs.attacked[~pairs.same[pairs.attacked]][:2])
    crafted = api.craft(PGD, TINY, others.probe, others.reference, goal="impersonation", threshold=0.99, **run)
    before = (api.embed(TINY, others.probe, **run) * api.embed(TINY, others.reference, **run)).sum(dim=1)
    assert bool((crafted.scores > before).all()) and crafted.achieved is not None and not crafted.achieved.any()


@pytest.mark.parametrize("attack", [api.attack("deepfool"), api.attack("apgd", loss="hinge")])
def test_that_an_attack_that_stops_at_success_needs_a_threshold(
    attack: api.Option, batch: PairBatch, run: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="needs to know when a pair is accepted; give threshold=NUMBER"):
        api.craft(attack, TINY, batch.probe, batch.reference, **run)


def test_that_an_attacker_who_sees_labels_alone_needs_a_threshold(batch: PairBatch, run: dict[str, Any]) -> None:
    labels = api.threat("query", feedback="label", queries=5)
    with pytest.raises(ConfigError, match="needs to know when a pair is accepted"):
        api.craft("nes", TINY, batch.probe, batch.reference, threat=labels, **run)


def test_that_an_attack_by_gradients_on_a_black_box_is_refused(batch: PairBatch, run: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="needs gradients"):
        api.craft(PGD, TINY, batch.probe, batch.reference, threat="query", threshold=0.5, **run)


def test_that_a_defense_is_fitted_before_it_is_attacked(batch: PairBatch, run: dict[str, Any]) -> None:
    people = api.identities("synthetic", people=4, photos_per_person=2)
    pca = api.defense("pca", components=3)
    work = (PGD, TINY, batch.probe, batch.reference)
    crafted = api.craft(*work, defense=pca, threat=Adaptive(include_oblivious=False), identities=people, **run)
    assert not torch.equal(crafted.images, api.craft(*work, **run).images)


class Flat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(147, 8))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.body(images)
        return found


@dataclass(frozen=True)
class Shift(Attack):
    """Adds a constant, however small the budget is."""

    by: float = 0.5

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        images = pairs.probe + self.by
        achieved = goal.achieved(view.score(images, view.enroll(pairs)), view.aim(goal, pairs.index))
        return AttackResult(images, achieved, torch.ones(len(pairs), dtype=torch.int64))


def test_that_objects_of_ones_own_are_attacked_and_held_to_the_budget(batch: PairBatch) -> None:
    module = Flat()
    recognizer = TorchRecognizer("mine", lambda: module, weights=None, mean=0.5, std=0.5)
    crafted = api.craft(Shift(), recognizer, batch.probe, batch.reference, budget=Linf(0.1), threshold=0.9)
    assert torch.equal(crafted.images, (batch.probe + 0.1).clamp(0, 1).minimum(batch.probe + 0.1))
    trained = api.craft(ProjectedDescent(steps=3), recognizer, batch.probe, batch.reference, threshold=0.9)
    assert bool((trained.scores < 1).all())


@dataclass(frozen=True)
class Wrong:
    by: float = 0.5


def test_that_an_object_that_breaks_its_contract_is_one_line(batch: PairBatch, run: dict[str, Any]) -> None:
    with pytest.raises(FrbenchError, match="does not keep the contract of an Attack") as caught:
        api.craft(Wrong(), TINY, batch.probe, batch.reference, **run)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attack": "none"}, "attack=none makes no images"),
        ({"reference": None}, "craft needs probe= and reference="),
        ({"reference": torch.rand(2, 3, 112, 112)}, "probe has 3 images and reference 2"),
        ({"decoy": torch.rand(2, 3, 112, 112)}, "probe has 3 images and decoy 2"),
        ({"probe": torch.rand(3, 3, 112, 112) * 255}, "expected [0, 1]; divide by 255"),
        ({"threshold": 1.5}, "threshold=1.5, expected a cosine from -1 to 1"),
        ({"threshold": torch.zeros(2)}, "or one for each pair"),
        ({"goal": "cloak"}, "Cloak is no goal for pairs"),
        ({"pairs": "synthetic"}, "craft takes either probe= and reference=, or pairs="),
        ({"budget": replace(Linf(0.1), radius=2.0)}, "budget.radius=2.0"),
    ],
)
def test_that_wrong_arguments_are_one_line(
    arguments: dict[str, Any], message: str, batch: PairBatch, run: dict[str, Any]
) -> None:
    given = {"attack": PGD, "recognizer": TINY, "probe": batch.probe, "reference": batch.reference, **run}
    if arguments.get("pairs"):
        arguments = {"pairs": api.dataset("synthetic", **FACES)}
    with pytest.raises(ConfigError) as caught:
        api.craft(**{**given, **arguments})
    assert message in str(caught.value) and "\n" not in str(caught.value)
