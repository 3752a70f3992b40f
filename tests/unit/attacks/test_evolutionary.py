"""The evolutionary attack: always adversarial, ever nearer, and never a question too many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from frbench.attacks.evolutionary import Evolutionary, _DecisionOracle, _Search
from frbench.harness.core.contracts import Draw, Goal, Images, Scores, Template, View
from frbench.harness.core.counter_rng import uniform
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.evaluation.instrumentation import InstrumentedVerifier
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.goals import Dodging, Impersonation
from frbench.harness.threat_model.oracles import DecisionsOnly

GOALS = [Dodging(), Impersonation()]
OUT_OF_REACH = {Dodging(): -2.0, Impersonation(): 2.0}
BUDGET = Linf(8 / 255)  # which the attack ignores


def looking(verifier: Any, threshold: float, **options: Any) -> View:
    return View(verifier, torch.full((12,), threshold), **options)


def deciding(recognizer: Any, threshold: float = 0.3, **options: Any) -> View:
    """A view of accepted and refused alone."""
    return looking(DecisionsOnly(CosineVerifier(recognizer), torch.full((12,), threshold)), 0.0, **options)


def pairs_for(goal: Goal, batch: Callable) -> PairBatch:
    return batch(same=goal == Dodging())


def distance(images: Images, pairs: PairBatch) -> torch.Tensor:
    return (images - pairs.probe).flatten(1).norm(dim=1)


@dataclass(frozen=True)
class Noting(CosineVerifier):
    """Keeps the images that it was asked about."""

    asked: list[Images]

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        self.asked.append(probe.clone())
        return super().score(probe, template, draw)


def noting(recognizer: Any) -> Noting:
    return Noting(recognizer, [])


@pytest.mark.parametrize("goal", GOALS)
def test_that_it_is_always_adversarial_and_ever_mutated(goal: Goal, linear: Callable, batch: Callable) -> None:
    """A longer attack repeats a shorter one and goes on, so each pair's distances can be compared."""
    pairs, view = pairs_for(goal, batch), deciding(linear(), 0.5)
    judge = looking(CosineVerifier(linear()), 0.5)
    nearest = torch.full((12,), torch.inf)
    for queries in (1, 5, 11, 50, 150, 400):
        result = Evolutionary(queries=queries)(view, pairs, goal, BUDGET)
        assert result.achieved.all()
        scores = judge.score(result.images, judge.enroll(pairs))
        assert goal.achieved(scores, judge.aim(goal, pairs.index)).all()
        found = distance(result.images, pairs)
        assert bool((found <= nearest + 1e-6).all())
        nearest = found
    start = distance(goal.target(pairs), pairs)
    assert bool((nearest < 0.5 * start).all())


@pytest.mark.parametrize("goal", GOALS)
def test_that_it_comes_near_the_nearest_image_there_is(goal: Goal, linear: Callable, batch: Callable) -> None:
    """Of the smallest change on the line of the gradient, which on a nearly linear score is the smallest of all."""
    pairs, recognizer = pairs_for(goal, batch), linear()
    view = looking(CosineVerifier(recognizer), 0.3)
    found = Evolutionary(queries=2000)(view, pairs, goal, BUDGET)
    probe = pairs.probe.clone().requires_grad_(True)
    scores = view.score(probe, view.enroll(pairs))
    (slope,) = torch.autograd.grad(scores.sum(), probe)
    linearly = (scores.detach() - 0.3).abs() / slope.flatten(1).norm(dim=1)
    assert found.achieved.all()
    assert (distance(found.images, pairs) / linearly).median() < 2.0


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("limit", [0, 1, 7, 13, 60])
def test_that_a_pair_is_asked_about_exactly_as_often_as_allowed(
    limit: int, goal: Goal, linear: Callable, batch: Callable
) -> None:
    pairs = pairs_for(goal, batch)
    instrumented = InstrumentedVerifier(CosineVerifier(linear()), pairs.index, goal)
    result = Evolutionary()(looking(instrumented, 0.5, queries=limit), pairs, goal, BUDGET)
    assert instrumented.queries.tolist() == [limit] * 12
    assert result.iterations.tolist() == [limit] * 12
    assert result.achieved.all() == (limit > 0)


@pytest.mark.parametrize("goal", GOALS)
def test_that_a_pair_without_a_start_fails_after_its_tries_and_is_counted(
    goal: Goal, linear: Callable, batch: Callable
) -> None:
    pairs = pairs_for(goal, batch)
    verifier = noting(linear())
    instrumented = InstrumentedVerifier(verifier, pairs.index, goal)
    view = looking(instrumented, OUT_OF_REACH[goal])
    result = Evolutionary(tries=4)(view, pairs, goal, BUDGET)
    assert not result.achieved.any()
    assert instrumented.queries.tolist() == result.iterations.tolist() == [4] * 12
    losses = torch.stack([goal.loss(view.score(each, view.enroll(pairs))) for each in verifier.asked[:4]])
    assert torch.allclose(goal.loss(view.score(result.images, view.enroll(pairs))), losses.amin(dim=0), atol=1e-6)


def test_that_where_the_target_is_no_start_noise_may_be(linear: Callable, batch: Callable) -> None:
    """Decoys that look like the reference are accepted; noise of the pair's own is not, and starts the walk."""
    pairs = batch(same=True)
    easy = torch.arange(12) % 3 != 0
    decoy = torch.where(easy[:, None, None, None], pairs.decoy, pairs.reference)
    pairs = replace(pairs, decoy=decoy)
    verifier = CosineVerifier(linear())
    instrumented = InstrumentedVerifier(verifier, pairs.index, Dodging())
    result = Evolutionary(queries=80)(looking(instrumented, 0.5), pairs, Dodging(), BUDGET)
    assert result.achieved.all()
    assert instrumented.queries.tolist() == [80] * 12
    view = looking(verifier, 0.5)
    assert bool((view.score(result.images, view.enroll(pairs)) <= 0.5).all())


def test_that_a_silent_victim_gives_nothing_away(linear: Callable, batch: Callable) -> None:
    """No answer is NaN: not a success, and no image is made of it."""
    pairs = batch(same=True)
    instrumented = InstrumentedVerifier(CosineVerifier(linear()), pairs.index, Dodging(), limit=0)
    result = Evolutionary()(looking(instrumented, 0.3), pairs, Dodging(), BUDGET)
    assert not result.achieved.any()
    assert torch.equal(result.images, pairs.probe)
    instrumented = InstrumentedVerifier(CosineVerifier(linear()), pairs.index, Dodging(), limit=30)
    some = Evolutionary()(looking(instrumented, 0.3), pairs, Dodging(), BUDGET)
    told = Evolutionary(queries=30)(looking(CosineVerifier(linear()), 0.3), pairs, Dodging(), BUDGET)
    assert torch.equal(some.images, told.images)


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("size", [1, 5])
def test_that_a_pair_gets_the_same_image_and_count_in_any_company(
    size: int, goal: Goal, linear: Callable, batch: Callable
) -> None:
    pairs, attack, view = batch(), Evolutionary(queries=150), deciding(linear(), 0.5)
    together = attack(view, pairs, goal, BUDGET)
    parts = [attack(view, pairs[slice(at, at + size)], goal, BUDGET) for at in range(0, 12, size)]
    assert torch.allclose(together.images, torch.cat([part.images for part in parts]), atol=1e-6)
    for name in ("achieved", "iterations"):
        assert torch.equal(getattr(together, name), torch.cat([getattr(part, name) for part in parts])), name


@dataclass(frozen=True)
class Restless(CosineVerifier):
    """Answers wrongly in one draw of ten."""

    random = True

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        scores = super().score(probe, template, draw)
        return torch.where(uniform(template.index, draw, ()) < 0.1, 0.6 - scores, scores)


def test_that_votes_are_counted_and_make_lucky_draws_rare(linear: Callable, batch: Callable) -> None:
    pairs = batch(same=True)
    share = {}
    for votes in (1, 7):
        instrumented = InstrumentedVerifier(Restless(linear()), pairs.index, Dodging())
        view = looking(instrumented, 0.3, queries=200 * votes + 3)
        result = Evolutionary(queries=10_000, votes=votes)(view, pairs, Dodging(), BUDGET)
        assert instrumented.queries.tolist() == [200 * votes + (3 if votes == 1 else 0)] * 12
        honest = looking(CosineVerifier(linear()), 0.3)
        share[votes] = (honest.score(result.images, honest.enroll(pairs)) <= 0.3).float().mean()
    assert share[7] > share[1] + 0.3


def test_that_places_that_vary_more_are_moved_more_often(linear: Callable, batch: Callable) -> None:
    pairs, view = batch(), looking(CosineVerifier(linear()), 0.3)
    search = _Search(Evolutionary(), _DecisionOracle(view, Dodging(), pairs, 1), pairs.index, pairs.probe, pairs.decoy)
    search.variances[:, :19] = 9.0
    moved = torch.zeros_like(search.variances)
    for block in range(60):
        search._draw(block)
        for place in range(10):
            step = search._noise(place)
            assert bool(((step != 0).sum(dim=1) == 9).all()), "one place in twenty of 192"
            moved += step != 0
    often, seldom = moved[:, :19].mean(), moved[:, 19:].mean()
    assert 6.0 < often / seldom < 9.0  # drawn without replacement, which evens it out a little
    assert moved.sum() == 12 * 600 * 9


def test_that_a_move_has_the_length_of_the_pull_and_the_noise_that_was_asked_for(
    linear: Callable, batch: Callable
) -> None:
    pairs, view = batch(), looking(CosineVerifier(linear()), 0.3)
    clean = 0.4 + 0.2 * pairs.probe  # far from 0 and 1, so that nothing is clipped
    images = clean + 0.1 * (pairs.decoy - 0.5)
    search = _Search(
        Evolutionary(mu=0.25, sigma=0.03), _DecisionOracle(view, Dodging(), pairs, 1), pairs.index, clean, images
    )
    search._draw(0)
    before, after = images - clean, search._mutated(search._noise(0)) - clean
    lengths = [change.flatten(1).norm(dim=1) for change in (before, after)]
    assert torch.allclose(lengths[1], 0.75 * lengths[0], rtol=1e-4)
    angle = torch.nn.functional.cosine_similarity(before.flatten(1), after.flatten(1))
    assert bool((angle > 0.995).all()) and bool((angle < 1 - 1e-5).all())
