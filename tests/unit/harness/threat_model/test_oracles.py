"""What a victim that can only be asked gives away: scores or verdicts, and never a gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from frbench.harness.core.contracts import Draw, Goal, Images, Scores, Template, View
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.threat_model.goals import Dodging, Impersonation
from frbench.harness.threat_model.oracles import DecisionsOnly, ScoresOnly
from frbench.harness.threat_model.threats import Query


@dataclass(frozen=True)
class Silent(CosineVerifier):
    """A verifier that does not answer about odd pairs."""

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        scores = super().score(probe, template, draw)
        return torch.where(template.index % 2 == 1, torch.nan, scores)


def test_that_scores_are_the_verifiers_own_and_carry_no_gradient(linear: Callable, batch: Callable, draw: Draw) -> None:
    inner, pairs = CosineVerifier(linear()), batch()
    asked = ScoresOnly(inner)
    template = asked.enroll(pairs.reference, pairs.index, draw)
    probe = pairs.probe.clone().requires_grad_(True)
    scores = asked.score(probe, template, draw)
    assert torch.equal(scores, inner.score(pairs.probe, template, draw))
    assert not scores.requires_grad
    assert not asked.differentiable


def test_that_a_decision_is_the_verdict_of_the_pairs_own_threshold(
    linear: Callable, batch: Callable, draw: Draw
) -> None:
    inner, pairs = CosineVerifier(linear()), batch()
    template = inner.enroll(pairs.reference, pairs.index, draw)
    scores = inner.score(pairs.probe, template, draw)
    thresholds = scores + torch.where(pairs.index % 3 == 0, -0.01, 0.01)
    thresholds[1] = scores[1]  # at the threshold a pair is refused
    order = torch.tensor([7, 0, 1, 3])
    verdicts = DecisionsOnly(inner, thresholds).score(pairs.probe[order], template[order], draw)
    assert verdicts.tolist() == [-1.0, 1.0, -1.0, 1.0]


@pytest.mark.parametrize("goal", [Dodging(), Impersonation()])
def test_that_no_answer_is_no_success(goal: Goal, linear: Callable, batch: Callable) -> None:
    pairs = batch()
    asked = DecisionsOnly(Silent(linear()), torch.full((12,), 0.3))
    view = View(asked, torch.zeros(12))
    scores = view.score(pairs.probe, view.enroll(pairs))
    assert scores[1::2].isnan().all()
    assert not goal.achieved(scores, view.aim(goal, pairs.index))[1::2].any()


class _Anything:
    """A victim whose thresholds are its own, one for each pair."""

    seed = 5

    def __init__(self, verifier: Any) -> None:
        self.verifier, self.defense = verifier, self
        self.thresholds = torch.linspace(-0.5, 0.9, 12)

    def protect(self, verifier: Any) -> Any:
        return verifier

    def calibrate(self, verifier: Any) -> torch.Tensor:
        assert verifier is self.verifier
        return self.thresholds


@pytest.mark.parametrize("goal", [Dodging(), Impersonation()])
def test_that_a_decision_is_enough_to_know_success_whatever_the_threshold(
    goal: Goal, linear: Callable, batch: Callable
) -> None:
    """The threshold of a service that only decides is not told, and its answers are read without it."""
    victim, pairs = _Anything(CosineVerifier(linear())), batch()
    (told,) = Query(feedback="score", margin=0.0).views(victim).values()  # type: ignore[arg-type]
    (decided,) = Query(feedback="label").views(victim).values()  # type: ignore[arg-type]
    assert torch.equal(decided.thresholds, torch.zeros(12))
    by_score, by_decision = (
        goal.achieved(look.score(pairs.probe, look.enroll(pairs)), look.aim(goal, pairs.index))
        for look in (told, decided)
    )
    assert 0 < int(by_score.sum()) < 12
    assert torch.equal(by_score, by_decision)


def test_that_the_view_names_how_often_one_may_ask(linear: Callable) -> None:
    for feedback in ("score", "label"):
        (look,) = Query(queries=17, feedback=feedback).views(_Anything(CosineVerifier(linear()))).values()  # type: ignore[arg-type]
        assert (look.queries, look.seed, look.verifier.differentiable) == (17, 5, False)
