"""Square: its moves against the published ones, its queries against a verifier that counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch

from frbench.attacks.square import Square, _etas, allowance
from frbench.harness.core.contracts import Budget, Draw, Goal, Images, Scores, Template, View
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.evaluation.instrumentation import InstrumentedVerifier
from frbench.harness.threat_model.budgets import L2, Dssim, Linf, Unbounded
from frbench.harness.threat_model.goals import Dodging, Impersonation

GOALS = [Dodging(), Impersonation()]
BUDGETS = [Linf(8 / 255), L2(1.0)]


class Counting(CosineVerifier):
    """Notes which pairs each question was about; ``seen`` outlives the frozen object."""

    seen: ClassVar[Counter[int]] = Counter()

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        self.seen.update(template.index.tolist())
        return super().score(probe, template, draw)


@pytest.fixture
def counting(linear: Callable) -> Counting:
    Counting.seen = Counter()
    return Counting(linear())


def looking(verifier: Any, threshold: float, **options: Any) -> View:
    return View(verifier, torch.full((12,), threshold), **options)


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("limit", [1, 2, 63, 64, 65, 150])
def test_that_no_pair_is_asked_about_more_often_than_allowed(
    limit: int, goal: Goal, counting: Counting, batch: Callable
) -> None:
    out_of_reach = 2.0 if goal == Impersonation() else -2.0
    result = Square(queries=150)(looking(counting, out_of_reach, queries=limit), batch(), goal, Linf(8 / 255))
    assert counting.seen == dict.fromkeys(range(12), limit)
    assert result.iterations.tolist() == [limit] * 12
    assert not result.achieved.any()


def test_that_its_own_limit_holds_where_the_view_has_none_or_a_higher_one(counting: Counting) -> None:
    assert [allowance(10, looking(counting, 0.3, queries=each)) for each in (None, 7, 10, 99)] == [10, 7, 10, 10]


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("goal", GOALS)
def test_that_a_pair_that_succeeded_is_not_asked_about_again(
    budget: Budget, goal: Goal, counting: Counting, batch: Callable
) -> None:
    view, pairs = looking(counting, 0.3, margin=0.01, queries=400), batch(same=goal == Dodging())
    result = Square()(view, pairs, goal, budget)
    early = result.iterations[result.achieved]
    assert len(set(early.tolist())) > 2, "no pairs that leave at different times"
    assert counting.seen == dict(enumerate(result.iterations.tolist()))
    scores = view.score(result.images, view.enroll(pairs))
    assert torch.equal(goal.achieved(scores, view.aim(goal, pairs.index)), result.achieved)
    assert (result.iterations[~result.achieved] == 400).all()


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("size", [1, 5])
def test_that_a_pair_gets_the_same_image_and_count_in_any_company(
    size: int, budget: Budget, linear: Callable, batch: Callable
) -> None:
    pairs, attack = batch(), Square(queries=200)
    view = looking(CosineVerifier(linear()), 0.1, queries=200)
    together = attack(view, pairs, Impersonation(), budget)
    parts = [attack(view, pairs[slice(at, at + size)], Impersonation(), budget) for at in range(0, 12, size)]
    assert torch.allclose(together.images, torch.cat([part.images for part in parts]), atol=1e-6)
    for name in ("achieved", "iterations"):
        assert torch.equal(getattr(together, name), torch.cat([getattr(part, name) for part in parts])), name


def test_that_one_radius_for_each_pair_is_kept(linear: Callable, batch: Callable) -> None:
    pairs, view = batch(), looking(CosineVerifier(linear()), -2.0)
    for budget in (Linf(torch.linspace(0.01, 0.12, 12)), L2(torch.linspace(0.1, 1.2, 12))):
        images = Square(queries=30)(view, pairs, Dodging(), budget).images
        sizes = budget.size(images, pairs.probe)
        assert bool(budget.fits(images, pairs.probe).all())
        assert bool((sizes > 0.5 * torch.as_tensor(budget.radius)).all())


@pytest.mark.parametrize("budget", [*BUDGETS, Unbounded()])
@pytest.mark.parametrize("goal", GOALS)
def test_that_more_queries_never_make_it_worse(goal: Goal, budget: Budget, linear: Callable, batch: Callable) -> None:
    """Each length has a schedule of its own, so this holds of the mean and not of each pair."""
    pairs, view = batch(), looking(CosineVerifier(linear()), 0.3)
    losses = []
    for queries in (1, 30, 600):
        images = Square(queries=queries, early_stop=False)(view, pairs, goal, budget).images
        losses.append(goal.loss(view.score(images, view.enroll(pairs))).mean())
    assert losses[0] > losses[1] > losses[2]


def test_that_a_budget_without_squares_is_refused_in_one_line(linear: Callable, batch: Callable) -> None:
    with pytest.raises(FrbenchError, match="linf") as error:
        Square()(looking(CosineVerifier(linear(16)), 0.3), batch(size=16), Dodging(), Dssim(0.01))
    assert "\n" not in str(error.value)


def test_that_unanswered_questions_change_nothing(batch: Callable, linear: Callable) -> None:
    """Beyond the limit that the harness enforces a score is NaN: no success, and no image."""
    pairs, goal = batch(), Dodging()
    instrumented = InstrumentedVerifier(CosineVerifier(linear()), pairs.index, goal, limit=20)
    view = looking(instrumented, -2.0)  # the view itself names no limit
    result = Square(queries=60)(view, pairs, goal, Linf(8 / 255))
    assert instrumented.queries.tolist() == [20] * 12
    assert result.images.isfinite().all()
    assert not result.achieved.any()


def test_that_squares_shrink_as_published() -> None:
    """Sides on 112 pixels for 10,000 queries: roots of 0.8, halved at the queries that the paper names."""
    attack = Square()
    sides = [attack._side(step / 10_000, 112) for step in (0, 10, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001)]
    assert sides == [100, 100, 71, 50, 35, 25, 18, 13, 9, 6, 4]


def test_that_bumps_are_those_of_torchattacks() -> None:
    square = pytest.importorskip("torchattacks.attacks.square").Square(torch.nn.Flatten())
    for side in (1, 3, 5, 11, 22):
        torch.manual_seed(0)
        while True:  # theirs turns round at random
            theirs = square.eta(side)
            if torch.allclose(theirs, theirs.T) or theirs[0].max() > theirs[-1].max():
                break
        found = _etas(side)
        assert any(torch.allclose(each, theirs, atol=1e-6) for each in found), side
        assert torch.allclose(found.flatten(1).norm(dim=1), torch.ones(2))


class TwoClasses(torch.nn.Module):
    """A pair's decision as two logits, as torchattacks wants it."""

    def __init__(self, view: View, template: Template, threshold: float) -> None:
        super().__init__()
        self.view, self.template, self.threshold = view, template, threshold
        self.anchor = torch.nn.Parameter(torch.zeros(()))

    def forward(self, images: Images) -> torch.Tensor:
        margin = self.view.score(images, self.template) - self.threshold
        return torch.stack([margin, -margin], dim=1)


@pytest.mark.parametrize(("norm", "budget"), [("Linf", Linf(5 / 255)), ("L2", L2(0.35))])
def test_that_it_succeeds_as_often_as_torchattacks_with_the_same_queries(
    norm: str, budget: Any, linear: Callable, batch: Callable
) -> None:
    """One pair at a time there, because each pair has its own reference."""
    torchattacks = pytest.importorskip("torchattacks")
    ours = theirs = 0
    for seed in range(3):
        pairs = batch(seed=seed, same=True)
        view = looking(CosineVerifier(linear(seed=seed)), 0.55)
        ours += int(Square(queries=150)(view, pairs, Dodging(), budget).achieved.sum())
        for row in range(12):
            one = pairs[slice(row, row + 1)]
            model = TwoClasses(view, view.enroll(one), 0.55).eval()
            attack = torchattacks.Square(model, norm=norm, eps=budget.radius, n_queries=149, seed=row)
            with torch.random.fork_rng():
                found = attack(one.probe, torch.zeros(1, dtype=torch.long))
            theirs += int(view.score(found, view.enroll(one)).item() <= 0.55)
    assert 0 < theirs < 36, "nothing to compare: make the task easier or harder"
    assert ours >= theirs - 3


def test_that_its_noise_hangs_on_the_seed(linear: Callable, batch: Callable) -> None:
    view = looking(CosineVerifier(linear()), -2.0)
    one, other = (Square(queries=5)(replace(view, seed=seed), batch(), Dodging(), Linf(0.1)).images for seed in (0, 1))
    assert not torch.equal(one, other)
