"""The bridge to torchattacks where gradients, scores, queries or memory are not what the library is used to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from support.torchattacks_cases import COUNT, GOALS, PARTS, SIZE, THRESHOLD, USABLE, budget_of, quick
from torch import Tensor

from frbench.attacks.torchattacks import PairVerifier, TorchAttack
from frbench.attacks.torchattacks_table import ATTACKS
from frbench.harness.core.contracts import Draw, Goal, Images, Scores, Template, View
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.evaluation.instrumentation import InstrumentedVerifier
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.goals import Dodging, Impersonation

pytest.importorskip("torchattacks")

BLIND = [name for name in USABLE if not ATTACKS[name].needs_gradient]


@pytest.fixture
def look(linear: Callable, view: Callable) -> View:
    return view(linear(SIZE), COUNT, threshold=THRESHOLD)


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("name", PARTS)
def test_a_masked_gradient_gives_no_nan_and_no_false_success(
    name: str, goal: Goal, saturated: Any, batch: Callable, view: Callable
) -> None:
    """Several attacks divide by the size of the gradient; every score is 1, whatever they do."""
    attack = quick(name)
    result = attack(view(saturated, 2), batch(2, SIZE), goal, budget_of(name))
    assert bool(torch.isfinite(result.images).all())
    assert result.achieved.tolist() == [goal == Impersonation()] * 2


@dataclass(frozen=True)
class Speechless:
    """A verifier without an answer for some pairs."""

    inner: CosineVerifier
    silent: tuple[int, ...]

    differentiable = True
    random = False

    def enroll(self, reference: Images, index: Tensor, draw: Draw) -> Template:
        return self.inner.enroll(reference, index, draw)

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        mute = torch.isin(template.index, torch.tensor(self.silent))
        return self.inner.score(probe, template, draw).masked_fill(mute, torch.nan)


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("name", PARTS)
def test_a_score_that_is_not_a_number_is_no_success_and_no_harm_to_others(
    name: str, goal: Goal, look: View, batch: Callable
) -> None:
    pairs, budget = batch(2, SIZE, same=goal == Dodging()), budget_of(name)
    attack = quick(name)
    deaf = replace(look, verifier=Speechless(CosineVerifier(look.verifier.recognizer), (0,)))  # type: ignore[attr-defined]
    result = attack(deaf, pairs, goal, budget)
    assert bool(torch.isfinite(result.images).all())
    assert not bool(result.achieved[0])
    if not ATTACKS[name].mixes:
        alone = attack(look, pairs, goal, budget)
        assert torch.allclose(result.images[1], alone.images[1], atol=1e-6)
        assert result.achieved[1] == alone.achieved[1]


@pytest.mark.parametrize("label", [0, 1])
def test_a_score_that_is_not_a_number_is_shown_as_far_from_success(label: int, look: View, batch: Callable) -> None:
    """Else an attack that keeps what is better would keep what nobody has scored."""
    pairs = batch(COUNT, SIZE)
    deaf = replace(look, verifier=Speechless(CosineVerifier(look.verifier.recognizer), (0, 2)))  # type: ignore[attr-defined]
    logits = PairVerifier(deaf, deaf.enroll(pairs), look.thresholds, label)(pairs.probe)
    gap = logits[:, label] - logits[:, 1 - label]
    heard = PairVerifier(look, look.enroll(pairs), look.thresholds, label)(pairs.probe)
    assert torch.equal(logits[[1, 3]], heard[[1, 3]])
    assert gap[[0, 2]].min() >= 16
    assert (heard[:, label] - heard[:, 1 - label]).max() < 16


@pytest.mark.parametrize("name", PARTS)
def test_a_limit_of_queries_is_kept_and_what_is_claimed_within_it_is_true(
    name: str, look: View, batch: Callable
) -> None:
    pairs, limit, goal = batch(2, SIZE, same=True), 40, Dodging()
    instrumented = InstrumentedVerifier(look.verifier, pairs.index, goal, limit)
    attack = TorchAttack(name)
    result = attack(replace(look, verifier=instrumented, queries=limit), pairs, goal, budget_of(name))
    assert int(instrumented.queries.max()) <= limit
    assert bool(torch.isfinite(result.images).all())
    with torch.no_grad():
        scores = look.score(result.images, look.enroll(pairs))
    assert torch.equal(result.achieved, goal.achieved(scores, torch.full((2,), THRESHOLD)))


def test_success_within_the_limit_of_queries_is_seen(look: View, batch: Callable) -> None:
    """The last query is kept for the verdict, and the square attack plans with what it has."""
    pairs, limit = batch(COUNT, SIZE, same=False), 150
    instrumented = InstrumentedVerifier(look.verifier, pairs.index, Impersonation(), limit)
    result = TorchAttack("Square")(
        replace(look, verifier=instrumented, queries=limit), pairs, Impersonation(), Linf(0.3)
    )
    assert bool(result.achieved.any())
    assert int(instrumented.queries.max()) <= limit


@pytest.mark.parametrize("name", BLIND)
def test_an_attack_on_scores_alone_takes_no_gradient(name: str, look: View, batch: Callable) -> None:
    pairs = batch(COUNT, SIZE)
    instrumented = InstrumentedVerifier(look.verifier, pairs.index, Dodging())
    quick(name)(replace(look, verifier=instrumented), pairs, Dodging(), budget_of(name))
    assert int(instrumented.gradients.sum()) == 0


@dataclass(frozen=True)
class Channelwise:
    """A network that works channels-last, and gives gradients in that layout."""

    kernel: Tensor
    name: str = "channelwise"
    differentiable: bool = True
    digest: str = "channelwise"

    def embed(self, images: Images) -> Tensor:
        last = torch.channels_last
        maps = torch.conv2d(images.contiguous(memory_format=last), self.kernel.contiguous(memory_format=last))
        return torch.nn.functional.normalize(maps.tanh().flatten(1))


@pytest.mark.parametrize("name", PARTS)
def test_images_and_gradients_may_lie_channels_last_in_memory(name: str, batch: Callable, view: Callable) -> None:
    kernel = torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    pairs = batch(2, SIZE, same=True)
    pairs = replace(pairs, probe=pairs.probe.contiguous(memory_format=torch.channels_last))
    attack = quick(name)
    result = attack(view(Channelwise(kernel), 2), pairs, Dodging(), budget_of(name))
    assert bool(torch.isfinite(result.images).all())
    assert result.images.is_contiguous(memory_format=torch.channels_last)
