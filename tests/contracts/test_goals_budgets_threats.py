"""What every goal, budget and threat model in conf/ promises."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import frbench.conf
from frbench.defenses.input_transforms.blur import BlurDefense
from frbench.defenses.none import NoDefense
from frbench.harness.core.contracts import Budget, Draw, Goal, Images, Verifier, Victim, View
from frbench.harness.core.counter_rng import uniform
from frbench.harness.core.errors import FrbenchError, Refused
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.core.verifiers import CosineVerifier

CONF = Path(frbench.conf.__file__).parent
GOALS, BUDGETS, THREATS = (
    sorted(path.stem for path in (CONF / group).glob("*.yaml")) for group in ("goal", "budget", "threat")
)
SIZE = 16  # the window of SSIM is 11 pixels wide
TOLD_ELSEWHERE = {"cloak"}  # what a verifier cannot decide: a tracker that learned from the images does


@pytest.fixture(params=[option for option in GOALS if option not in TOLD_ELSEWHERE])
def goal(request: pytest.FixtureRequest, made: Callable) -> Goal:
    return made("goal", request.param)


@pytest.fixture(params=BUDGETS)
def budget(request: pytest.FixtureRequest, made: Callable) -> Budget:
    return made("budget", request.param)


@pytest.fixture(params=THREATS)
def threat(request: pytest.FixtureRequest, made: Callable, linear: Callable) -> Any:
    model = made("threat", request.param)
    return replace(model, surrogate=linear(seed=9)) if hasattr(model, "surrogate") else model


def test_that_a_goal_attacks_pairs_that_are_not_already_as_the_attacker_wants_them(goal: Goal) -> None:
    """A pair it picks, decided correctly, is one where the goal is not achieved; the other kind is not its business."""
    same, threshold = torch.tensor([True, False]), torch.zeros(2)
    eligible = goal.eligible(same)
    assert (eligible.dtype, int(eligible.sum())) == (torch.bool, 1)
    right = torch.where(same, 0.5, -0.5)
    assert not bool(goal.achieved(right, threshold)[eligible].any())
    assert bool(goal.achieved(-right, threshold)[eligible].all())


@pytest.mark.parametrize("option", sorted(TOLD_ELSEWHERE))
def test_that_what_a_verifier_cannot_tell_is_never_achieved_before_one(option: str, made: Callable) -> None:
    """So no attack stops early, and its loss is still to be lowered, as for a dodge."""
    goal, scores = made("goal", option), torch.linspace(-1, 1, 201)
    assert not bool(goal.achieved(scores, torch.zeros_like(scores)).any())
    assert torch.equal(goal.loss(scores), scores)
    assert torch.equal(goal.eligible(torch.tensor([True, False])), torch.tensor([True, False]))
    assert float(goal.beyond(torch.tensor([0.3]), 0.1)) == pytest.approx(0.2)


def test_that_a_lower_loss_is_never_further_from_the_goal(goal: Goal) -> None:
    scores = torch.linspace(-1, 1, 201)
    ranked = goal.achieved(scores, torch.full_like(scores, 0.13))[goal.loss(scores).argsort()]
    assert ranked[0] and not ranked[-1]
    assert int(ranked.int().diff().abs().sum()) == 1


def test_that_a_goal_has_one_verdict_at_the_threshold_itself(goal: Goal) -> None:
    """A pair is accepted when its score is greater than the threshold; at it, it is refused."""
    at = torch.tensor([0.25])
    assert bool(goal.achieved(at, at)) == bool(goal.eligible(torch.tensor([True])))


def test_that_beyond_the_threshold_means_achieved_by_the_margin(goal: Goal) -> None:
    threshold = torch.linspace(-0.5, 0.5, 11)
    aim = goal.beyond(threshold, 0.1)
    assert torch.allclose((aim - threshold).abs(), torch.full_like(aim, 0.1))
    assert bool(goal.achieved(aim, threshold).all())
    assert torch.equal(goal.beyond(threshold, 0.0), threshold)


@pytest.mark.parametrize("option", GOALS)
def test_that_the_target_to_resemble_is_an_image_of_somebody_else(option: str, made: Callable, batch: Callable) -> None:
    goal = made("goal", option)
    pairs = batch(same=bool(goal.eligible(torch.tensor([True]))))
    target = goal.target(pairs)
    assert target.shape == pairs.probe.shape
    others = {id(pairs.decoy), id(pairs.reference)} - ({id(pairs.reference)} if pairs.same[0] else set())
    assert id(target) in others


def images(seed: int, count: int = 6) -> Images:
    found = torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    found[:, :, :2], found[:, :, -2:] = 0.0, 1.0  # black and white borders
    return found


def test_that_a_projection_is_within_the_budget_and_the_range(budget: Budget) -> None:
    clean = images(0)
    for wild in (clean + 10 * (images(1) - 0.5), 1 - clean, torch.full_like(clean, 5.0), clean - 3):
        found = budget.project(wild, clean)
        assert (found.shape, found.dtype) == (clean.shape, clean.dtype)
        assert bool(budget.fits(found, clean).all())
        assert found.min() >= 0
        assert found.max() <= 1


def test_that_what_fits_is_left_as_it_is(budget: Budget) -> None:
    clean = images(0)
    assert torch.equal(budget.project(clean, clean), clean)
    assert bool(budget.fits(clean, clean).all())
    assert torch.allclose(budget.size(clean, clean), torch.zeros(6), atol=1e-6)
    near = budget.project((clean + 1e-4 * (images(1) - 0.5)).clamp(0, 1), clean)
    assert torch.allclose(near, (clean + 1e-4 * (images(1) - 0.5)).clamp(0, 1), atol=1e-7)


def test_that_projecting_twice_is_projecting_once(budget: Budget) -> None:
    clean = images(0)
    once = budget.project(images(1), clean)
    assert torch.allclose(budget.project(once, clean), once, atol=1e-6)


def test_that_each_row_is_projected_and_measured_alone(budget: Budget) -> None:
    clean, wild = images(0), images(1)
    rows = [slice(i, i + 1) for i in range(6)]
    alone = torch.cat([budget.project(wild[row], clean[row]) for row in rows])
    assert torch.allclose(budget.project(wild, clean), alone, atol=1e-6)
    sizes = torch.cat([budget.size(wild[row], clean[row]) for row in rows])
    assert sizes.shape == (6,)
    assert torch.allclose(budget.size(wild, clean), sizes, atol=1e-6)


def test_that_nothing_given_to_a_budget_is_changed(budget: Budget) -> None:
    clean, wild = images(0), images(1)
    before = clean.clone(), wild.clone()
    ball = budget.around(clean)
    budget.project(wild, clean), budget.size(wild, clean), budget.fits(wild, clean)
    ball.step(wild, images(2) - 0.5, 0.1), ball.sample(images(3))
    assert torch.equal(clean, before[0])
    assert torch.equal(wild, before[1])


def test_that_steps_and_random_starts_stay_inside_and_move(budget: Budget) -> None:
    clean = images(0)
    ball = budget.around(clean)
    start = ball.sample(uniform(torch.arange(6), Draw(1), (3, SIZE, SIZE)))
    stepped = ball.step(start, images(2) - 0.5, 0.5)
    for found in (start, stepped, ball.step(clean, images(2) - 0.5, 5.0)):
        assert bool(budget.fits(found, clean).all())
        assert found.min() >= 0
        assert found.max() <= 1
        assert bool(((found - clean).abs().amax(dim=(1, 2, 3)) > 1e-4).all())


def test_that_a_step_goes_against_the_gradient_and_a_zero_gradient_goes_nowhere(budget: Budget) -> None:
    clean, gradient = images(0), images(2) - 0.5
    ball = budget.around(clean)
    change = ball.step(clean, gradient, 0.2) - clean
    assert bool(((change * gradient).sum(dim=(1, 2, 3)) < 0).all())
    assert torch.allclose(ball.step(clean, torch.zeros_like(clean), 0.2), clean, atol=1e-6)


def test_that_some_rows_of_a_ball_are_the_ball_of_those_rows(budget: Budget) -> None:
    clean, gradient, rows = images(0), images(2) - 0.5, torch.tensor([4, 1])
    whole, part = budget.around(clean), budget.around(clean)[rows]
    assert torch.allclose(
        part.step(clean[rows], gradient[rows], 0.3), whole.step(clean, gradient, 0.3)[rows], atol=1e-6
    )


def test_that_a_budget_can_be_resized_for_each_pair_or_says_why_not(budget: Budget) -> None:
    clean, wild = images(0), images(1)
    radius = torch.tensor([0.001, 0.002, 0.003, 0.004, 0.005, 0.006])
    if not hasattr(budget, "radius"):
        with pytest.raises(FrbenchError) as error:
            budget.resized(radius)
        assert "\n" not in str(error.value)
        return
    sized = budget.resized(radius)
    found = sized.size(sized.project(wild, clean), clean)
    assert bool((found <= radius * 1.001 + 1e-6).all())
    assert bool((found[1:] > found[:-1]).all())


@pytest.mark.parametrize("option", [name for name in BUDGETS if name.partition("_")[2]])
def test_that_the_name_of_a_budget_tells_its_norm_and_radius(option: str, made: Callable) -> None:
    """``linf_8`` is 8 gray levels of 255, ``l2_0p5`` a Euclidean norm of 0.5 on [0, 1]."""
    norm, _, number = option.partition("_")
    unit = {"linf": 255, "l2": 1}[norm]
    budget = made("budget", option)
    assert type(budget).__name__.lower() == norm
    assert budget.radius * unit == pytest.approx(float(number.replace("p", ".")), rel=1e-12)


@dataclass(frozen=True)
class Opaque(NoDefense):
    """A defense without a differentiable stand-in."""

    def relaxations(self, verifier: Verifier) -> dict[str, Verifier]:
        return {}


def sight(recognizer: Any, defense: Any) -> Victim:
    bare = CosineVerifier(recognizer)
    lines = {defense.protect(bare): 0.4, bare: 0.25}
    return Victim(bare, defense, CosineVerifier, lambda verifier: torch.full((12,), lines.get(verifier, 0.6)), 7)


def test_that_a_threat_gives_views_that_can_be_attacked(threat: Any, linear: Callable, batch: Callable) -> None:
    views, pairs = threat.views(sight(linear(16), BlurDefense())), batch(size=16)
    if hasattr(threat, "surrogate"):
        views = replace(threat, surrogate=linear(16, seed=9)).views(sight(linear(16), BlurDefense()))
    assert views
    for look in views.values():
        assert isinstance(look, View)
        assert (look.thresholds.shape, look.seed) == ((12,), 7)
        probe = pairs.probe.clone().requires_grad_(True)
        scores = look.score(probe, look.enroll(pairs))
        assert scores.shape == (12,)
        assert scores.requires_grad == look.verifier.differentiable
        if hasattr(threat, "queries"):  # who asks the victim itself gets numbers, and so many of them
            assert not look.verifier.differentiable
            assert look.queries == threat.queries
            continue
        (gradient,) = torch.autograd.grad(scores.sum(), probe)
        assert bool((gradient.flatten(1).norm(dim=1) > 0).all())
        assert look.queries is None


def test_that_only_a_threat_that_knows_or_asks_the_defense_sees_it(threat: Any, linear: Callable) -> None:
    """Otherwise each attack's images are made once and judged behind every defense."""
    defenses = (NoDefense(), BlurDefense(), BlurDefense(2.0))
    seen = [fingerprint(threat.views(sight(linear(16), defense))) for defense in defenses]
    sees = {"surrogate_gradient", "queries"} & inspect.signature(type(threat)).parameters.keys()
    assert len(set(seen)) == (3 if sees else 1)


def test_that_a_defense_without_a_stand_in_is_refused_by_who_would_look_through_it(
    threat: Any, linear: Callable
) -> None:
    if "surrogate_gradient" in inspect.signature(type(threat)).parameters:
        with pytest.raises(Refused, match="no differentiable relaxation") as refusal:
            threat.views(sight(linear(), Opaque()))
        assert "\n" not in str(refusal.value)
    else:
        assert threat.views(sight(linear(), Opaque())).keys() == threat.views(sight(linear(), NoDefense())).keys()
