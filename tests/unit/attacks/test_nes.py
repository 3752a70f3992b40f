"""Descent along estimated gradients: the estimate against autograd, the queries against a count from outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch.nn.functional import cosine_similarity

from frbench.attacks.components.active_set import ActivePairs, gradient
from frbench.attacks.nes import GradientEstimate
from frbench.harness.core.contracts import Budget, Draw, Goal, Images, Scores, Template, View
from frbench.harness.core.counter_rng import normal
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.evaluation.instrumentation import InstrumentedVerifier
from frbench.harness.threat_model.budgets import L2, Linf
from frbench.harness.threat_model.goals import Dodging, Impersonation

GOALS = [Dodging(), Impersonation()]
BUDGETS = [Linf(8 / 255), L2(1.0)]
OUT_OF_REACH = {Dodging(): -2.0, Impersonation(): 2.0}


def looking(verifier: Any, threshold: float, **options: Any) -> View:
    return View(verifier, torch.full((12,), threshold), **options)


@pytest.mark.parametrize("grid", [None, 4])
@pytest.mark.parametrize("estimator", ["nes", "spsa"])
def test_that_many_directions_give_the_true_gradient(
    estimator: Any, grid: int | None, linear: Callable, batch: Callable
) -> None:
    """On a grid, the part of the gradient that the grid can show."""
    pairs, goal = batch(), Impersonation()
    view = looking(CosineVerifier(linear()), 0.3)
    inside = 0.25 + pairs.probe / 2  # so that looking to both sides is never clipped
    active = ActivePairs(inside, view.enroll(pairs), Linf(0.1).around(inside), view.aim(goal, pairs.index))
    attack = GradientEstimate(estimator=estimator, grid=grid, sigma=0.005)
    found = attack._slope(view, goal, active, samples=3_000, spent=0)
    _, true = gradient(view, goal, inside, active.template, 0)
    if grid is not None:
        enlarge = torch.nn.functional.interpolate
        small = torch.zeros(12, 3, grid, grid, requires_grad=True)
        (pulled,) = torch.autograd.grad((enlarge(small, (8, 8), mode="bilinear") * true).sum(), small)
        true = enlarge(pulled, (8, 8), mode="bilinear")
    assert bool((cosine_similarity(found.flatten(1), true.flatten(1)) > 0.9).all())
    assert torch.allclose(found.abs().mean(dim=(1, 2, 3)), torch.ones(12), atol=1e-5)


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("limit", [2, 3, 20, 21, 22, 60, 61, 100])
def test_that_no_pair_is_asked_about_more_often_than_allowed(
    limit: int, goal: Goal, linear: Callable, batch: Callable
) -> None:
    """A step is an odd number of questions, so that one may be left over."""
    pairs = batch()
    instrumented = InstrumentedVerifier(CosineVerifier(linear()), pairs.index, goal)
    view = looking(instrumented, OUT_OF_REACH[goal], queries=limit)
    result = GradientEstimate(samples=20)(view, pairs, goal, Linf(8 / 255))
    spent = set(instrumented.queries.tolist())
    assert spent <= {limit, limit - 1} if limit > 2 else spent == {0}
    assert result.iterations.tolist() == [-(-(limit - 2) // 21)] * 12
    assert not result.achieved.any()


@pytest.mark.parametrize("goal", GOALS)
def test_that_a_pair_that_succeeded_is_not_asked_about_again(goal: Goal, linear: Callable, batch: Callable) -> None:
    pairs = batch(same=goal == Dodging())
    instrumented = InstrumentedVerifier(CosineVerifier(linear()), pairs.index, goal)
    view = looking(instrumented, 0.3, margin=0.01)
    result = GradientEstimate(queries=2000, samples=20)(view, pairs, goal, Linf(8 / 255))
    early = result.iterations[result.achieved]
    assert len(set(early.tolist())) > 2, "no pairs that leave at different times"
    assert torch.equal(instrumented.queries[result.achieved], early * 21)
    scores = view.score(result.images, view.enroll(pairs))
    assert torch.equal(goal.achieved(scores, view.aim(goal, pairs.index)), result.achieved)


@dataclass(frozen=True)
class Restless(CosineVerifier):
    """Scores with noise of each draw."""

    random = True

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        return super().score(probe, template, draw) + 0.01 * normal(template.index, draw, ())


@pytest.mark.parametrize("kind", [CosineVerifier, Restless])
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("size", [1, 5])
def test_that_a_pair_gets_the_same_image_and_count_in_any_company(
    size: int, budget: Budget, kind: type[CosineVerifier], linear: Callable, batch: Callable
) -> None:
    """Even of a random victim, whose draws hang on the number of the question."""
    pairs, attack = batch(), GradientEstimate(queries=150)
    view = looking(kind(linear()), 0.1)
    together = attack(view, pairs, Impersonation(), budget)
    parts = [attack(view, pairs[slice(at, at + size)], Impersonation(), budget) for at in range(0, 12, size)]
    assert torch.allclose(together.images, torch.cat([part.images for part in parts]), atol=2e-5)
    assert torch.equal(together.iterations, torch.cat([part.iterations for part in parts]))


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("goal", GOALS)
def test_that_more_queries_never_make_it_worse(goal: Goal, budget: Budget, linear: Callable, batch: Callable) -> None:
    pairs, view = batch(), looking(CosineVerifier(linear()), 0.3)
    losses = []
    for queries in (41, 123, 1000):
        images = GradientEstimate(queries=queries, early_stop=False)(view, pairs, goal, budget).images
        losses.append(goal.loss(view.score(images, view.enroll(pairs))).mean())
    assert losses[0] > losses[1] > losses[2]


def test_that_unanswered_questions_make_no_image_of_nan(linear: Callable, batch: Callable) -> None:
    """The harness answers NaN beyond its limit, here in the middle of an estimate."""
    pairs = batch()
    instrumented = InstrumentedVerifier(CosineVerifier(linear()), pairs.index, Dodging(), limit=70)
    result = GradientEstimate()(looking(instrumented, -2.0), pairs, Dodging(), Linf(8 / 255))
    assert result.images.isfinite().all()
    assert not result.achieved.any()


def test_that_directions_hang_on_the_seed(linear: Callable, batch: Callable) -> None:
    view = looking(CosineVerifier(linear()), -2.0)
    attack = GradientEstimate(queries=41)
    one, other = (attack(replace(view, seed=seed), batch(), Dodging(), Linf(0.1)).images for seed in (0, 1))
    assert not torch.equal(one, other)
