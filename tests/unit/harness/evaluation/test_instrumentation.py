"""What an attack does to its view is counted from outside, pair by pair, and a limit is enforced there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.core.contracts import Draw, Template
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.evaluation.instrumentation import InstrumentedVerifier
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.goals import Dodging


class Scripted:
    """A verifier whose scores are the first pixel of each image; counts the images that it sees."""

    differentiable, random = True, False

    def __init__(self) -> None:
        self.seen = 0

    def enroll(self, reference: torch.Tensor, index: torch.Tensor, draw: Draw) -> Template:
        return Template(torch.zeros(len(index), 1), index)

    def score(self, probe: torch.Tensor, template: Template, draw: Draw) -> torch.Tensor:
        self.seen += len(probe)
        return probe[:, 0, 0, 0]


def ask(instrumented: InstrumentedVerifier, values: list[float], index: list[int]) -> list[float]:
    images = torch.tensor(values).reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2).contiguous()
    numbers = torch.tensor(index)
    return instrumented.score(images, Template(torch.zeros(len(index), 1), numbers), Draw()).tolist()


def test_every_score_is_counted_for_its_own_pair() -> None:
    instrumented = InstrumentedVerifier(Scripted(), torch.tensor([7, 3, 5]), Dodging())
    ask(instrumented, [0.1, 0.2, 0.3], [7, 3, 5])
    ask(instrumented, [0.1, 0.2], [3, 5])
    ask(instrumented, [0.4, 0.4, 0.4], [5, 5, 3])
    assert instrumented.queries.tolist() == [1, 3, 4]


def test_beyond_its_limit_a_pair_gets_no_answer_and_the_network_no_work() -> None:
    verifier = Scripted()
    instrumented = InstrumentedVerifier(verifier, torch.tensor([1, 2]), Dodging(), limit=2)
    assert ask(instrumented, [0.25, 0.5], [1, 2]) == [0.25, 0.5]
    ask(instrumented, [0.5], [2])
    one, two = ask(instrumented, [0.25, 0.5], [1, 2])
    assert one == 0.25 and np.isnan(two)
    assert np.isnan(ask(instrumented, [0.25], [1])).all()
    assert instrumented.queries.tolist() == [2, 2]
    assert verifier.seen == 4


def test_several_questions_about_one_pair_in_one_call_are_answered_up_to_the_limit() -> None:
    instrumented = InstrumentedVerifier(Scripted(), torch.tensor([1, 2]), Dodging(), limit=3)
    answers = ask(instrumented, [0.5, 0.5, 0.25, 0.25, 0.25, 0.25], [2, 1, 1, 1, 1, 2])
    assert np.isnan(answers).tolist() == [False, False, False, False, True, False]
    assert instrumented.queries.tolist() == [3, 2]


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), max_size=8), st.integers(1, 5))
def test_no_pair_ever_gets_more_answers_than_its_limit(calls: list[list[int]], limit: int) -> None:
    instrumented = InstrumentedVerifier(Scripted(), torch.arange(5), Dodging(), limit)
    answered = np.zeros(5, int)
    for call in calls:
        found = np.array(ask(instrumented, [0.5] * len(call), call))
        np.add.at(answered, np.array(call)[~np.isnan(found)], 1)
    asked = np.bincount([pair for call in calls for pair in call], minlength=5)
    assert answered.tolist() == np.minimum(asked, limit).tolist() == instrumented.queries.tolist()


def test_gradients_are_counted_and_those_that_are_zero_are_told(
    linear: Callable, saturated: object, batch: Callable, view: Callable
) -> None:
    attack, pairs = ProjectedDescent(steps=6), batch()
    for recognizer, share in ((linear(), 0), (saturated, 1)):
        instrumented = InstrumentedVerifier(CosineVerifier(recognizer), pairs.index, Dodging())
        attack(view(recognizer).__class__(instrumented, torch.full((12,), 0.3)), pairs, Dodging(), Linf(8 / 255))
        assert instrumented.gradients.tolist() == [6] * 12
        assert instrumented.zero_gradients.tolist() == [6 * share] * 12
        assert instrumented.queries.tolist() == [7] * 12
        assert instrumented.nonfinite_gradients.sum() == 0


def test_watching_changes_neither_scores_nor_gradients(linear: Callable, batch: Callable) -> None:
    verifier, pairs = CosineVerifier(linear()), batch()
    template = verifier.enroll(pairs.reference, pairs.index, Draw())
    found = []
    for each in (verifier, InstrumentedVerifier(verifier, pairs.index, Dodging())):
        images = pairs.probe.clone().requires_grad_(True)
        scores = each.score(images, template, Draw())
        (gradient,) = torch.autograd.grad(scores.sum(), images)
        found.append((scores.detach(), gradient))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_a_gradient_that_is_not_finite_is_told() -> None:
    class Rooted(Scripted):
        def score(self, probe: torch.Tensor, template: Template, draw: Draw) -> torch.Tensor:
            return probe[:, 0, 0, 0].sqrt()

    instrumented = InstrumentedVerifier(Rooted(), torch.arange(2), Dodging())
    images = torch.tensor([0.0, 0.25]).reshape(2, 1, 1, 1).expand(2, 3, 2, 2).contiguous().requires_grad_(True)
    instrumented.score(images, Template(torch.zeros(2, 1), torch.arange(2)), Draw()).sum().backward()
    assert instrumented.nonfinite_gradients.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("losses", "share"),
    [
        ([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], 1 / 9),
        ([1.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], 0.0),
        ([1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1], 0.8 / 0.9),
        ([0.5, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9], 0.0),
        ([1.0], 0.0),
    ],
)
def test_the_late_gain_is_the_last_tenths_share_of_the_whole_fall(losses: list[float], share: float) -> None:
    instrumented = InstrumentedVerifier(Scripted(), torch.tensor([4, 9]), Dodging())
    for loss in losses:
        ask(instrumented, [loss], [9])
    assert instrumented.late_gain().tolist() == pytest.approx([0.0, share], abs=1e-6)
