"""LOTS: the step as its authors have it, towards the right features, and success by the pair's own goal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from frbench.attacks.cw import CarliniWagner
from frbench.attacks.lots import Lots, LotsDescent, TowardTarget
from frbench.attacks.minimal import Minimal
from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.core.contracts import Draw, Goal
from frbench.harness.threat_model.budgets import Linf, Unbounded
from frbench.harness.threat_model.goals import Dodging, Impersonation

GOALS = [Dodging(), Impersonation()]
GROWING = Minimal(ProjectedDescent(early_stop=True), Linf(1 / 255), doublings=9, bisections=8)
VARIANTS = {"max": LotsDescent(), "sign": LotsDescent(direction="sign"), "bim": GROWING, "cw": CarliniWagner()}


@pytest.mark.parametrize("direction", ["max", "sign"])
def test_the_strongest_pixel_moves_exactly_one_step(
    direction: str, linear: Callable, batch: Callable, view: Callable
) -> None:
    pairs = batch(same=False)
    pairs = replace(pairs, probe=0.1 + 0.8 * pairs.probe)  # away from the box
    walk = LotsDescent(step_size=0.004, steps=1, direction=direction)
    change = Lots(walk)(view(linear(), threshold=0.9), pairs, Impersonation(), Unbounded()).images - pairs.probe
    assert torch.allclose(Linf(1.0).size(change, torch.zeros_like(change)), torch.full((12,), 0.004), atol=1e-6)
    assert bool((change.abs() > 0.0039).all()) == (direction == "sign")


def test_small_steps_lower_the_distance_to_the_target_each_time(
    linear: Callable, batch: Callable, view: Callable
) -> None:
    look, pairs = view(linear(), threshold=0.999), batch(same=False)
    template, scores = look.enroll(pairs), []
    for steps in range(1, 30, 4):
        result = Lots(LotsDescent(step_size=1 / 2550, steps=steps))(look, pairs, Impersonation(), Unbounded())
        scores.append(look.score(result.images, template))
    assert bool((torch.stack(scores).diff(dim=0) > 0).all())


@pytest.mark.parametrize("goal", GOALS, ids=["dodging", "impersonation"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_reaches_the_goal_of_the_pair_itself(
    variant: str, goal: Goal, linear: Callable, batch: Callable, view: Callable
) -> None:
    look, pairs = view(linear(), threshold=0.5), batch(same=goal == Dodging())
    result = Lots(VARIANTS[variant])(look, pairs, goal, Unbounded())
    assert result.achieved.float().mean() > 0.9
    scores = look.score(result.images, look.enroll(pairs))
    assert torch.equal(goal.achieved(scores, look.aim(goal, pairs.index)), result.achieved)


@pytest.mark.parametrize("variant", VARIANTS)
def test_to_dodge_is_to_resemble_the_decoy(variant: str, linear: Callable, batch: Callable, view: Callable) -> None:
    look, pairs = view(linear(), threshold=0.5), batch(same=True)
    drawn = Lots(VARIANTS[variant])(look, pairs, Dodging(), Unbounded()).images
    pushed = VARIANTS[variant](look, pairs, Dodging(), Unbounded()).images
    decoy = look.enroll(replace(pairs, reference=pairs.decoy))
    before, toward, away = (look.score(images, decoy) for images in (pairs.probe, drawn, pushed))
    assert (toward - before).mean() > 0.1
    assert (toward - away).mean() > 0.1


@pytest.mark.parametrize("variant", VARIANTS)
def test_to_impersonate_is_what_the_attack_does_without_it(
    variant: str, linear: Callable, batch: Callable, view: Callable
) -> None:
    look, pairs = view(linear()), batch(same=False)
    plain, lots = (a(look, pairs, Impersonation(), Unbounded()) for a in (VARIANTS[variant], Lots(VARIANTS[variant])))
    assert torch.equal(plain.images, lots.images)


def test_a_verifier_toward_a_target_keeps_its_scores_and_has_the_gradient_to_the_target(
    linear: Callable, batch: Callable, view: Callable
) -> None:
    look, pairs = view(linear()), batch(same=True)
    toward = TowardTarget(look.verifier, Dodging(), pairs.decoy, pairs.index)
    some = pairs[torch.tensor([4, 1, 7])]  # inner attacks may ask for a part of the batch, in any order
    probe = some.probe.clone().requires_grad_(True)
    scores = toward.score(probe, toward.enroll(some.reference, some.index, Draw()), Draw())
    assert torch.equal(scores.detach(), look.score(some.probe, look.enroll(some)))
    (slope,) = torch.autograd.grad(scores.sum(), probe)
    decoy = look.enroll(replace(some, reference=some.decoy))
    (expected,) = torch.autograd.grad(-look.score(probe, decoy).sum(), probe)
    assert torch.allclose(slope, expected)


@pytest.mark.parametrize("size", [1, 8])
def test_images_do_not_depend_on_the_batch(size: int, linear: Callable, batch: Callable, view: Callable) -> None:
    look, pairs, attack = view(linear(), threshold=0.5), batch(same=True), Lots(LotsDescent())
    together = attack(look, pairs, Dodging(), Unbounded())
    parts = [attack(look, pairs[slice(i, i + size)], Dodging(), Unbounded()).images for i in range(0, 12, size)]
    assert torch.allclose(together.images, torch.cat(parts), atol=1e-6)


def test_pairs_that_have_arrived_stay_where_they_are(linear: Callable, batch: Callable, view: Callable) -> None:
    look, pairs = view(linear()), batch(same=False)
    short, long = (Lots(LotsDescent(steps=steps))(look, pairs, Impersonation(), Unbounded()) for steps in (40, 400))
    assert bool(short.achieved.any())
    assert not bool(short.achieved.all())
    assert torch.equal(long.images[short.achieved], short.images[short.achieved])
    assert torch.equal(long.iterations[short.achieved], short.iterations[short.achieved])
