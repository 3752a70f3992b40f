"""The smallest radius: what is doubled, what is bisected, and what is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import hydra
import pytest
import torch
from torch import Tensor

from frbench.attacks.minimal import Minimal
from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.config import build, resolution
from frbench.harness.core.contracts import AttackResult, Budget, Goal, View
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import PairBatch
from frbench.harness.threat_model.budgets import L2, Dssim, Linf, Unbounded
from frbench.harness.threat_model.goals import Dodging, Impersonation

BIM = ProjectedDescent(steps=20, early_stop=True)
START = 16 / 255


@dataclass(frozen=True)
class Threshold:
    """Pushes all pixels of each pair up by the radius, and notes which radii it was asked for."""

    asked: list[Tensor] = field(default_factory=list)

    needs_gradient, bounded, stops_early, batch_dependent = False, True, False, False

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Any) -> AttackResult:
        self.asked.append(torch.stack([pairs.index.float(), budget.radius]))
        images = (pairs.probe + budget.radius[:, None, None, None]).clamp(0, 1)
        count = torch.ones_like(pairs.index)
        return AttackResult(images, count.bool(), count)


class Mean:
    """The score of an image is its mean over that of its reference, which gives a needed radius to each pair."""

    differentiable, random = True, False

    def enroll(self, reference: Tensor, index: Tensor, draw: Any) -> Any:
        from frbench.harness.core.contracts import Template

        return Template(reference.flatten(1), index)

    def score(self, probe: Tensor, template: Any, draw: Any) -> Tensor:
        return (probe.flatten(1) - template.vectors).mean(dim=1)


NEEDED = [0.001, 0.02, 0.05, 0.1, 0.3]


def flat(needed: Sequence[float]) -> tuple[View, PairBatch]:
    """Black pairs that need the changes ``needed`` to be accepted."""
    count = len(needed)
    black, index = torch.zeros(count, 3, 4, 4), torch.arange(count)
    return View(Mean(), torch.tensor(needed)), PairBatch(black, black, black, index < 0, index, index)


def test_each_pair_finds_its_own_radius() -> None:
    view, pairs = flat(NEEDED)
    result = Minimal(Threshold(), Linf(START))(view, pairs, Impersonation(), Unbounded())
    sizes = Linf(1.0).size(result.images, pairs.probe)
    assert bool(result.achieved.all())
    assert torch.allclose(sizes, torch.tensor(NEEDED), rtol=0.01)
    assert bool((sizes >= torch.tensor(NEEDED)).all())


def test_radii_double_until_success_and_who_never_succeeds_is_a_failure_with_its_best_try() -> None:
    view, pairs = flat([0.1, 0.9])
    inner = Threshold()
    result = Minimal(inner, Linf(START), doublings=3, bisections=0)(view, pairs, Impersonation(), Unbounded())
    asked = [[(int(i), round(float(r) * 255)) for i, r in one.T] for one in inner.asked]
    assert asked == [[(0, 16), (1, 16)], [(0, 32), (1, 32)], [(1, 64)]]
    assert result.achieved.tolist() == [True, False]
    assert torch.allclose(Linf(1.0).size(result.images, pairs.probe), torch.tensor([32.0, 64.0]) / 255)
    assert result.iterations.tolist() == [2, 3]


def test_pairs_already_won_are_not_attacked_at_all() -> None:
    view, pairs = flat([-0.1, 0.02])
    inner = Threshold()
    result = Minimal(inner, Linf(START))(view, pairs, Impersonation(), Unbounded())
    assert all(one[0].tolist() == [1.0] for one in inner.asked)
    assert result.achieved.tolist() == [True, True]
    assert torch.equal(result.images[0], pairs.probe[0])
    assert result.iterations[0] == 0


@dataclass(frozen=True)
class Patchy(Threshold):
    """Fails by doing nothing in a band of radii, as a single step that goes too far does."""

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Any) -> AttackResult:
        result = super().__call__(view, pairs, goal, budget)
        band = (budget.radius > 0.02) & (budget.radius < 0.05)
        images = torch.where(band[:, None, None, None], pairs.probe, result.images)
        return AttackResult(images, ~band, result.iterations)


def test_a_grid_finds_what_bisection_alone_walks_past() -> None:
    view, pairs = flat([0.01])
    sizes = [
        float(
            Linf(1.0).size(
                Minimal(Patchy(), Linf(0.1), **options)(view, pairs, Impersonation(), Unbounded()).images, pairs.probe
            )
        )
        for options in ({"grid": 0}, {"grid": 32, "bisections": 5})
    ]
    assert sizes[0] > 0.049
    assert sizes[1] == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize("budget", [Linf(START), L2(1.0), Dssim(0.01)], ids=["linf", "l2", "dssim"])
def test_any_budget_with_a_radius_will_do(budget: Any, linear: Callable, batch: Callable, view: Callable) -> None:
    look, pairs = view(linear(16), 4), batch(4, size=16, same=True)
    wide = BIM(look, pairs, Dodging(), budget)
    result = Minimal(BIM, budget, bisections=5)(look, pairs, Dodging(), Unbounded())
    size: Callable[[Tensor], Tensor] = lambda images: budget.size(images, pairs.probe)  # noqa: E731
    assert bool(result.achieved[wide.achieved].all())
    assert bool((size(result.images) <= size(wide.images))[wide.achieved].all())


def test_a_budget_without_a_radius_is_refused_in_one_line(linear: Callable, batch: Callable, view: Callable) -> None:
    with pytest.raises(FrbenchError, match="radius") as error:
        Minimal(BIM, Unbounded())(view(linear()), batch(), Dodging(), Unbounded())  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_it_is_what_its_inner_attack_is() -> None:
    assert not Minimal(Threshold(), Linf(START)).needs_gradient
    assert Minimal(BIM, Linf(START)).needs_gradient
    assert not Minimal(BIM, Linf(START)).batch_dependent


@pytest.mark.parametrize("words", [(), ("attack@attack.inner=fgsm", "budget@attack.budget=l2_1")])
def test_the_inner_attack_and_the_norm_are_options(words: tuple[str, ...]) -> None:
    with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
        attack = build.instantiate(
            resolution.plain(hydra.compose("run", ["attack=minimal", *words]))["attack"], "attack"
        )
    budget: Budget = L2(1.0) if words else Linf(START)
    assert attack == Minimal(ProjectedDescent(steps=1, rel_stepsize=1.0, early_stop=True) if words else BIM, budget)
