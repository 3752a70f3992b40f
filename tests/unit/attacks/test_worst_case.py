"""Several attacks in turn: the worst of each pair, and no work on pairs that have fallen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from frbench.attacks.apgd import Apgd
from frbench.attacks.deepfool import DeepFool
from frbench.attacks.fab import Fab
from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.attacks.square import Square
from frbench.attacks.worst_case import WorstCase
from frbench.harness.core.contracts import AttackResult, Budget, Goal, View
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.threat_model.budgets import L2, Linf, Unbounded
from frbench.harness.threat_model.goals import Dodging, Impersonation

GOALS = [Dodging(), Impersonation()]
COUNT = 12
MEMBERS = {
    "cosine": Apgd(steps=15),
    "hinge": Apgd(loss="hinge", steps=15),
    "deepfool": DeepFool(norm="linf"),
    "fab": Fab(),
    "square": Square(queries=40),
}
BUDGET = Linf(8 / 255)


@dataclass(frozen=True)
class Scripted:
    """An attack that answers with ``change`` added to the probe, and notes for which pairs and budget it was asked."""

    change: float
    bounded: bool = True
    needs_gradient: bool = False
    batch_dependent: bool = False
    asked: list[list[int]] = field(default_factory=list, compare=False)
    budgets: list[Budget] = field(default_factory=list, compare=False)

    stops_early = False

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        self.asked.append(pairs.index.tolist())
        self.budgets.append(budget)
        images = pairs.probe + self.change * (pairs.decoy - pairs.probe)
        return AttackResult(images, torch.zeros_like(pairs.same), torch.ones_like(pairs.index))


def loss_of(view: View, pairs: PairBatch, goal: Goal, images: Tensor) -> Tensor:
    with torch.no_grad():
        return goal.loss(view.score(images, view.enroll(pairs)))


@pytest.mark.parametrize("goal", GOALS, ids=["dodging", "impersonation"])
def test_each_pair_has_the_worst_that_any_attack_found(
    goal: Goal, linear: Callable, batch: Callable, view: Callable
) -> None:
    pairs = batch(same=goal == Dodging())
    unreachable = view(linear(), threshold=-2.0 if goal == Dodging() else 2.0)
    together = WorstCase(MEMBERS)(unreachable, pairs, goal, BUDGET)
    assert not bool(together.achieved.any())
    assert bool(BUDGET.fits(together.images, pairs.probe).all())
    alone = []
    for attack in MEMBERS.values():
        images = attack(unreachable, pairs, goal, BUDGET if attack.bounded else Unbounded()).images
        alone.append(loss_of(unreachable, pairs, goal, BUDGET.project(images, pairs.probe)))
    assert torch.allclose(loss_of(unreachable, pairs, goal, together.images), torch.stack(alone).amin(dim=0), atol=1e-6)


@pytest.mark.parametrize("goal", GOALS, ids=["dodging", "impersonation"])
def test_a_pair_falls_exactly_where_one_of_the_attacks_fells_it(
    goal: Goal, linear: Callable, batch: Callable, view: Callable
) -> None:
    pairs, look = batch(same=goal == Dodging()), view(linear(), threshold=0.0 if goal == Dodging() else 0.45)
    weak = {"bim": ProjectedDescent(steps=4), "deepfool": DeepFool(norm="linf"), "square": Square(queries=60)}
    together = WorstCase(weak)(look, pairs, goal, Linf(10 / 255))
    fell = torch.zeros_like(pairs.same)
    for attack in weak.values():
        images = attack(look, pairs, goal, Linf(10 / 255) if attack.bounded else Unbounded()).images
        scores = look.score(Linf(10 / 255).project(images, pairs.probe), look.enroll(pairs))
        fell |= goal.achieved(scores, look.aim(goal, pairs.index))
    assert torch.equal(together.achieved, fell)
    assert 0 < int(fell.sum()) < COUNT


def test_pairs_that_have_fallen_are_not_attacked_again(linear: Callable, batch: Callable, view: Callable) -> None:
    look, pairs = view(linear(), threshold=0.25), batch(same=True)
    first, second = ProjectedDescent(steps=10), Scripted(0.0)
    standing = ~first(look, pairs, Dodging(), Linf(0.05)).achieved
    assert 0 < int(standing.sum()) < COUNT
    result = WorstCase({"first": first, "second": second})(look, pairs, Dodging(), Linf(0.05))
    assert second.asked == [pairs.index[standing].tolist()]
    assert torch.equal(result.iterations, 10 + standing.long())


def test_a_weaker_image_that_comes_later_is_not_kept(linear: Callable, batch: Callable, view: Callable) -> None:
    look, pairs = view(linear(), threshold=-2.0), batch(same=True)
    strong, weak = ProjectedDescent(steps=10), Scripted(0.0)
    expected = strong(look, pairs, Dodging(), BUDGET).images
    for attacks in ({"strong": strong, "weak": weak}, {"weak": weak, "strong": strong}):
        assert torch.equal(WorstCase(attacks)(look, pairs, Dodging(), BUDGET).images, expected)


def test_what_an_unbounded_attack_finds_is_brought_into_the_budget_before_it_counts(
    linear: Callable, batch: Callable, view: Callable
) -> None:
    look, pairs = view(linear(), threshold=0.0), batch(same=True)
    whole = Scripted(1.0, bounded=False)
    result = WorstCase({"whole": whole})(look, pairs, Dodging(), BUDGET)
    assert isinstance(whole.budgets[0], Unbounded)
    assert torch.equal(result.images, BUDGET.project(pairs.decoy, pairs.probe))
    achieved = loss_of(look, pairs, Dodging(), result.images) <= 0
    assert torch.equal(result.achieved, achieved)


@pytest.mark.parametrize("kind", [Linf, L2])
def test_who_stands_keeps_his_own_radius(kind: type, linear: Callable, batch: Callable, view: Callable) -> None:
    look, pairs, radii = view(linear(), threshold=0.25), batch(same=True), torch.linspace(0.001, 0.08, COUNT)
    second = Scripted(0.0)
    attacks = {"first": ProjectedDescent(steps=10), "second": second}
    result = WorstCase(attacks)(look, pairs, Dodging(), kind(radii))
    assert torch.equal(second.budgets[0].radius, radii[torch.tensor(second.asked[0])])
    assert bool(kind(radii).fits(result.images, pairs.probe).all())


def test_success_means_the_margin_too(linear: Callable, batch: Callable, view: Callable) -> None:
    pairs, attacks = batch(same=True), {"hinge": Apgd(loss="hinge", steps=40)}
    result = WorstCase(attacks)(view(linear(), threshold=0.3, margin=0.1), pairs, Dodging(), Linf(0.2))
    assert bool(result.achieved.any())
    assert bool((loss_of(view(linear()), pairs, Dodging(), result.images)[result.achieved] <= 0.2 + 1e-6).all())


@pytest.mark.parametrize("goal", GOALS, ids=["dodging", "impersonation"])
def test_an_attack_that_breaks_down_spoils_nothing(
    goal: Goal, linear: Callable, batch: Callable, view: Callable
) -> None:
    look, pairs, broken = view(linear(), threshold=0.3), batch(same=goal == Dodging()), Scripted(torch.nan)
    only = WorstCase({"broken": broken})(look, pairs, goal, BUDGET)
    assert not bool(only.achieved.any())
    assert torch.equal(only.images, pairs.probe)
    bim = ProjectedDescent(steps=5)
    after = WorstCase({"broken": broken, "bim": bim})(look, pairs, goal, BUDGET)
    assert torch.equal(after.images, bim(look, pairs, goal, BUDGET).images)


@pytest.mark.parametrize("size", [1, 5])
def test_images_do_not_depend_on_the_batch(size: int, linear: Callable, batch: Callable, view: Callable) -> None:
    look, pairs, attack = view(linear(), threshold=0.45), batch(same=False), WorstCase(MEMBERS)
    together = attack(look, pairs, Impersonation(), BUDGET)
    parts = [attack(look, pairs[slice(i, i + size)], Impersonation(), BUDGET) for i in range(0, COUNT, size)]
    assert 0 < int(together.achieved.sum()) < COUNT
    assert torch.allclose(together.images, torch.cat([part.images for part in parts]), atol=1e-6)
    assert torch.equal(together.iterations, torch.cat([part.iterations for part in parts]))


def test_it_needs_what_any_of_its_attacks_needs_and_is_known_by_their_order() -> None:
    plain, other = Scripted(0.0), Scripted(0.1, needs_gradient=True, batch_dependent=True)
    assert not WorstCase({"a": plain}).needs_gradient
    assert not WorstCase({"a": plain}).batch_dependent
    assert WorstCase({"a": plain, "b": other}).needs_gradient
    assert WorstCase({"a": plain, "b": other}).batch_dependent
    one, two = ProjectedDescent(), Square()
    prints = {fingerprint(WorstCase(order)) for order in ({"a": one, "b": two}, {"b": two, "a": one})}
    assert len(prints) == 2
