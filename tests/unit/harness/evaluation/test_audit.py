"""The audit flags what hides a gradient or spoils an attack, each by the check that is meant for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.core.contracts import AttackResult, Budget, Draw, Goal, Images, View
from frbench.harness.core.counter_rng import uniform
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.verifiers import Averaged, CosineVerifier, purified
from frbench.harness.evaluation.audit import Audit, AuditResult, Evidence
from frbench.harness.evaluation.crafting import Crafting
from frbench.harness.evaluation.execution import Execution
from frbench.harness.evaluation.judge import Judge
from frbench.harness.metrics.thresholds import fold_thresholds
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Linf, Unbounded
from frbench.harness.threat_model.goals import Dodging, Impersonation

COUNT, SIZE = 60, 12
PGD, DODGING, RADIUS, FULL = ProjectedDescent(steps=20), Dodging(), Linf(8 / 255), Audit(full=True)


@dataclass(frozen=True)
class Purify:
    """A purifier made of a function of (images, index, draw)."""

    act: Callable[[Images, torch.Tensor, Draw], Images] = field(compare=False)
    name: str
    random: bool = False
    differentiable: bool = True

    def __call__(self, images: Images, index: torch.Tensor, draw: Draw) -> Images:
        return self.act(images, index, draw).clamp(0, 1)


def shattered(images: Images, index: torch.Tensor, draw: Draw) -> Images:
    return images + (torch.round(images * 7) / 7 - images).detach() - images + images.detach()


def jitter(images: Images, index: torch.Tensor, draw: Draw) -> Images:
    return images + 1.5 * (uniform(index, draw, tuple(images.shape[1:])) - 0.5)


def undeclared(images: Images, index: torch.Tensor, draw: Draw) -> Images:
    return images + 0.2 * torch.rand_like(images)


def rough(images: Images, index: torch.Tensor, draw: Draw) -> Images:
    return images + 0.002 * torch.sin(3e4 * images.flip(3))


@pytest.fixture
def audited(linear: Callable, pair_set: Callable, tmp_path: Path) -> Callable[..., AuditResult]:
    """Attack a toy victim behind a purifier, through that purifier or a stand-in for it, and audit the attack."""

    def audit_one(
        victim: Purify | None = None,
        view: Purify | None = None,
        attack: Any = PGD,
        goal: Goal = DODGING,
        budget: Budget = RADIUS,
        views: Mapping[str, View] | None = None,
        audit: Audit = FULL,
        draws: int = 0,
    ) -> AuditResult:
        pairs, bare = pair_set(COUNT, SIZE), CosineVerifier(linear(SIZE))
        judged = purified(bare, victim, "probe") if victim else bare
        everyone = pairs.batch(np.arange(COUNT))
        with torch.no_grad():
            template = judged.enroll(everyone.reference, everyone.index, Draw())
            clean = judged.score(everyone.probe, template, Draw()).numpy()
        thresholds = fold_thresholds(clean, pairs.same, pairs.fold)
        look = purified(bare, view or victim, "probe") if victim else bare  # type: ignore[arg-type]
        seen = Averaged(look, draws) if draws else look
        run = Execution(ResultStore(tmp_path / "results"), 0, 16, torch.device("cpu"))
        views = views or {"look": View(seen, torch.from_numpy(thresholds).float())}
        crafting = Crafting(pairs, views, judged, attack, goal, budget, run, with_sizes=True)
        judge = Judge(judged, pairs, goal, budget, attack.bounded, thresholds, clean, 5, {}, run)
        index = np.flatnonzero(goal.eligible(torch.from_numpy(pairs.same)).numpy())
        (block,) = crafting.blocks(index)
        return audit.examine(Evidence(judge.table(block), crafting, judge))

    return audit_one


@pytest.mark.parametrize("goal", [Dodging(), Impersonation()], ids=["dodging", "impersonation"])
def test_an_honest_attack_on_an_open_victim_is_not_flagged(goal: Goal, audited: Callable) -> None:
    found = audited(goal=goal)
    assert found.flags == []
    assert found.level == "full"
    assert found.figures["gradient_mismatch"] > 0.9
    assert found.figures["zero_gradients"] == 0
    assert found.figures["unstable_under_redraw"] is None


def test_quantisation_that_shatters_the_gradient_is_flagged(audited: Callable) -> None:
    found = audited(Purify(shattered, "shattered"))
    assert {"zero_gradients", "fails_unbounded", "gradient_mismatch"} <= set(found.flags)
    assert found.figures["zero_gradients"] == 1


def test_the_same_quantiser_with_a_straight_through_gradient_is_not_flagged(audited: Callable) -> None:
    def straight(images: Images, index: torch.Tensor, draw: Draw) -> Images:
        return images + (torch.round(images * 31) / 31 - images).detach()

    assert audited(Purify(straight, "straight")).flags == []


def test_a_stand_in_that_detaches_the_image_is_flagged(audited: Callable) -> None:
    detached = Purify(lambda images, index, draw: images.detach() + 0 * images, "detached")
    found = audited(Purify(lambda images, index, draw: images, "plain"), detached)
    assert {"zero_gradients", "gradient_mismatch"} <= set(found.flags)


def test_a_rough_surface_whose_gradient_leads_nowhere_is_flagged(audited: Callable) -> None:
    found = audited(Purify(rough, "rough"))
    assert "gradient_mismatch" in found.flags
    assert found.figures["zero_gradients"] == 0
    assert found.figures["not_reproducible"] == 0


def test_randomness_that_is_not_declared_is_flagged(audited: Callable) -> None:
    found = audited(Purify(undeclared, "undeclared"))
    assert "not_reproducible" in found.flags


def test_a_random_victim_whose_draws_disagree_is_flagged_and_one_that_agrees_is_not(audited: Callable) -> None:
    strong = Purify(jitter, "jitter", random=True)
    unsure = audited(strong, attack=ProjectedDescent(steps=1), budget=Linf(2 / 255), draws=5)
    assert "unstable_under_redraw" in unsure.flags
    assert unsure.figures["not_reproducible"] == 0
    sure = audited(strong, budget=Linf(40 / 255), draws=5)
    assert "unstable_under_redraw" not in sure.flags


@dataclass(frozen=True)
class Spoilt:
    """A descent that does one thing wrong afterwards."""

    spoil: Callable[[Images, Images], Images] = field(compare=False)
    name: str = "spoilt"
    bounded: bool = True

    needs_gradient = True
    stops_early = False
    batch_dependent = False

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        result = PGD(view, pairs, goal, budget)
        return replace(result, images=self.spoil(result.images, pairs.probe))


def test_an_attack_over_its_budget_is_flagged_although_the_budget_is_enforced(audited: Callable) -> None:
    found = audited(attack=Spoilt(lambda images, clean: clean + 2 * (images - clean), "double"))
    assert found.flags == ["budget_violated"]
    assert found.figures["budget_violated"] == 1


def test_an_attack_that_never_moves_black_and_white_is_flagged(audited: Callable) -> None:
    def frozen(images: Images, clean: Images) -> Images:
        return torch.where((clean < 0.1) | (clean > 0.9), clean, images)

    # The toy's pixels are uniform bytes, so 0 and 255 are there by themselves: about one in 128.
    found = audited(attack=Spoilt(frozen, "frozen"))
    assert found.figures["frozen_pixels"] == 0
    assert "frozen_pixels" in found.flags


def test_noise_that_calls_itself_an_attack_is_flagged(audited: Callable) -> None:
    def noise(images: Images, clean: Images) -> Images:
        generator = torch.Generator().manual_seed(0)
        return (clean + 8 / 255 * torch.randn(clean.shape, generator=generator).sign()).clamp(0, 1)

    found = audited(attack=Spoilt(noise, "noise"))
    assert "no_better_than_noise" in found.flags
    assert 0.2 < found.figures["no_better_than_noise"] < 0.75


def test_an_attack_that_was_stopped_too_soon_is_flagged(audited: Callable) -> None:
    slow = audited(attack=ProjectedDescent(steps=10, rel_stepsize=0.005), budget=Linf(16 / 255))
    assert "not_converged" in slow.flags
    assert slow.figures["not_converged"] > 0.5


def test_gradients_that_are_not_finite_are_flagged(audited: Callable) -> None:
    def sharp(images: Images, index: torch.Tensor, draw: Draw) -> Images:
        return images.sqrt() ** 2  # infinite slope at 0, and 0 times infinity

    assert "nonfinite_gradients" in audited(Purify(sharp, "sharp")).flags


def test_a_victim_without_gradients_is_audited_without_them(audited: Callable) -> None:
    @dataclass(frozen=True)
    class Nothing:
        bounded: bool = True
        needs_gradient = False
        stops_early = False
        batch_dependent = False

        def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
            achieved = torch.zeros(len(pairs), dtype=torch.bool)
            return AttackResult(pairs.probe, achieved, torch.ones(len(pairs), dtype=torch.int64))

    found = audited(attack=Nothing())
    assert found.figures["zero_gradients"] is None
    assert found.figures["gradient_mismatch"] is None
    assert {"fails_unbounded", "no_better_than_noise"} <= set(found.flags)


def test_basic_checks_run_no_attack(audited: Callable) -> None:
    calls = []

    def count(images: Images, clean: Images) -> Images:
        calls.append(len(images))
        return images

    basic = audited(attack=Spoilt(count, "counted"), audit=Audit())
    assert sum(calls) == COUNT // 2
    assert basic.level == "basic"
    assert not {"fails_unbounded", "gradient_mismatch"} & set(basic.figures)


def test_an_attack_without_a_limit_is_judged_by_what_it_achieved(audited: Callable) -> None:
    found = audited(attack=Spoilt(lambda images, clean: images, "free", bounded=False), budget=Unbounded())
    assert found.figures["fails_unbounded"] == 1
    assert found.flags == []


def test_what_the_attacker_cannot_see_is_not_held_against_its_gradient(audited: Callable, linear: Callable) -> None:
    """An oblivious attacker's gradient is compared with its own view, not with a defense it does not know."""
    views = {"bare": View(CosineVerifier(linear(SIZE)), torch.full((COUNT,), 0.3))}
    found = audited(Purify(shattered, "shattered"), views=views)
    assert found.figures["gradient_mismatch"] > 0.9
    assert found.figures["zero_gradients"] == 0
