"""Crafting: the budget is enforced, the cache is shared, and a killed run goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.core.contracts import AttackResult, Budget, Draw, Goal, Template, Verifier, View
from frbench.harness.core.counter_rng import normal
from frbench.harness.core.errors import ConfigError, Refused
from frbench.harness.core.face_data import PairBatch, PairSet
from frbench.harness.core.verifiers import CosineVerifier, Wrapping
from frbench.harness.evaluation import crafting as module
from frbench.harness.evaluation.crafting import Crafting
from frbench.harness.evaluation.execution import Execution
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.goals import Dodging, Impersonation

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Counting:
    """An attack that does what it is told and counts its calls."""

    make: Callable[[PairBatch], torch.Tensor] = field(compare=False)
    name: str = "counting"
    calls: list[int] = field(compare=False, default_factory=list)

    needs_gradient = False
    bounded = True
    stops_early = False
    batch_dependent = False

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        self.calls.append(len(pairs))
        counts = torch.zeros(len(pairs), dtype=torch.int64)
        return AttackResult(self.make(pairs), torch.ones(len(pairs), dtype=torch.bool), counts)


@pytest.fixture
def craft(linear: Callable, pair_set: Callable, tmp_path: Path) -> Callable[..., Crafting]:
    def make(attack: object, pairs: PairSet | None = None, views: dict | None = None, **changes: object) -> Crafting:
        pairs = pairs or pair_set()
        verifier = CosineVerifier(linear())
        looks = views or {"bare": View(verifier, torch.full((len(pairs),), 0.3))}
        execution = Execution(ResultStore(tmp_path / "results"), 0, changes.pop("batch_size", 16), CPU)  # type: ignore
        standard = Crafting(pairs, looks, verifier, attack, Dodging(), Linf(0.05), execution)  # type: ignore[arg-type]
        return replace(standard, **changes)  # type: ignore[arg-type]

    return make


def images(crafting: Crafting, index: np.ndarray) -> torch.Tensor:
    return torch.cat([block.images for block in crafting.blocks(index)])


def test_the_budget_is_enforced_whatever_the_attack_returns(craft: Callable) -> None:
    crafting = craft(Counting(lambda pairs: pairs.probe + 10))
    index = np.arange(20)
    found, clean = images(crafting, index), crafting.data.batch(index).probe
    assert bool(Linf(0.05).fits(found, clean).all())
    assert found.max() <= 1


def test_an_image_that_is_not_finite_is_a_failed_attack_and_is_told(craft: Callable) -> None:
    def spoil(pairs: PairBatch) -> torch.Tensor:
        broken = pairs.probe.clone()
        broken[0, 0, 0, 0] = float("nan")
        return broken

    crafting = craft(Counting(spoil), batch_size=32)
    (block,) = crafting.blocks(np.arange(20))
    assert block.facts["broken"].tolist() == [True] + [False] * 19
    assert not block.facts["achieved"][0] and block.facts["achieved"][1:].all()
    assert torch.equal(block.images[0], crafting.data.batch(np.arange(1)).probe[0])


def test_images_are_made_once_and_found_after(craft: Callable) -> None:
    attack, index = Counting(lambda pairs: pairs.probe * 0.99), np.arange(20)
    first = [block.generated for block in craft(attack).blocks(index)]
    again = [block.generated for block in craft(attack).blocks(index)]
    assert (first, again, attack.calls) == ([True], [False], [16, 4])
    assert torch.equal(images(craft(attack), index), images(craft(attack), index))


def test_that_found_images_are_those_made_bit_for_bit(craft: Callable) -> None:
    attack, index = ProjectedDescent(steps=3, restarts=2), np.arange(20)
    made, found = images(craft(attack), index), images(craft(attack), index)
    assert torch.equal(made.view(torch.int32), found.view(torch.int32))


def test_a_killed_run_keeps_its_finished_blocks(craft: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_SIZE", 8)
    attack, index = Counting(lambda pairs: pairs.probe * 0.99), np.arange(20)
    stopped = craft(attack).blocks(index)
    next(stopped)
    stopped.close()
    assert [block.generated for block in craft(attack).blocks(index)] == [False, True, True]


def test_that_images_of_some_pairs_come_from_the_blocks_that_hold_them(
    craft: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_SIZE", 8)
    attack, attacked = Counting(lambda pairs: pairs.probe * 0.99), np.arange(0, 40, 2)
    found = craft(attack).images(attacked, np.array([36, 0, 38]))
    assert attack.calls == [8, 4]
    assert torch.equal(found, images(craft(attack), attacked)[[18, 0, 19]])
    with pytest.raises(ConfigError, match="pair 3 is not attacked"):
        craft(attack).images(attacked, np.array([0, 3]))


def test_that_fresh_images_are_those_of_the_blocks_and_are_not_kept(craft: Callable) -> None:
    attack, index = ProjectedDescent(steps=3, restarts=2), np.arange(20)
    crafting = craft(attack)
    fresh = crafting.fresh(index)
    assert not crafting.execution.store.root.exists()
    assert torch.equal(fresh.images, images(crafting, index))


def test_the_key_is_what_the_attacker_saw(craft: Callable, linear: Callable) -> None:
    """Not the defense that judges, and not the names of views; but goal, budget, attack, threshold and recognizer."""
    attack = ProjectedDescent(steps=2)
    base = craft(attack)
    view = base.views["bare"]

    def key(crafting: Crafting) -> str:
        (only,) = crafting.keyed_views()
        return only

    assert key(base) == key(craft(attack, views={"other name": view}))
    assert key(base) == key(craft(attack, views={"one": view, "the same again": view}))
    assert key(base) == key(craft(attack, victim=CosineVerifier(linear(seed=5))))
    assert key(base) == key(craft(attack, batch_size=3))
    assert key(base) == key(craft(attack, views={"bare": replace(view, margin=0.2)}))  # never stops: no margin
    others = [
        craft(ProjectedDescent(steps=3)),
        craft(attack, goal=Impersonation()),
        craft(attack, budget=Linf(0.06)),
        craft(attack, views={"bare": replace(view, seed=1)}),
        craft(attack, views={"bare": replace(view, thresholds=view.thresholds + 0.1)}),
        craft(attack, views={"bare": replace(view, verifier=CosineVerifier(linear(seed=1)))}),
    ]
    assert len({key(each) for each in [base, *others]}) == 7
    early = ProjectedDescent(steps=2, early_stop=True)
    assert key(craft(early)) != key(craft(early, views={"bare": replace(view, margin=0.2)}))


def test_a_gradient_attack_on_a_view_without_gradients_is_refused(craft: Callable, linear: Callable) -> None:
    blind = CosineVerifier(replace(linear(), differentiable=False))
    crafting = craft(ProjectedDescent(), views={"bare": View(blind, torch.zeros(40))})
    with pytest.raises(Refused, match="needs gradients"):
        next(crafting.blocks(np.arange(4)))


def test_of_several_views_each_pair_keeps_its_own_worst(craft: Callable, linear: Callable) -> None:
    thresholds = torch.full((40,), 0.3)
    views = {f"seed {s}": View(CosineVerifier(linear(seed=s)), thresholds) for s in (0, 1, 2)}
    attack, index, victim = ProjectedDescent(steps=5), np.arange(20), CosineVerifier(linear(seed=3))
    batch = craft(attack).data.batch(index)

    def scores(found: torch.Tensor) -> torch.Tensor:
        return (victim.embed_probe(found) * victim.embed_probe(batch.reference)).sum(1)

    each = torch.stack([scores(images(craft(attack, views={k: v}), index)) for k, v in views.items()])
    worst = scores(images(craft(attack, views=views, victim=victim), index))
    assert torch.allclose(worst, each.min(0).values, atol=1e-6)
    assert len(each.argmin(0).unique()) > 1  # no single view is the worst for every pair


@dataclass(frozen=True)
class Moody(Wrapping):
    """A verifier with noise on its scores that is larger than the differences between views."""

    verifier: Verifier

    random = True

    def score(self, probe: torch.Tensor, template: Template, draw: Draw) -> torch.Tensor:
        return self.verifier.score(probe, template, draw) + 0.2 * normal(template.index, draw, (1,))[:, 0]


def test_that_a_random_judge_compares_views_in_the_mean_of_several_draws(craft: Callable, linear: Callable) -> None:
    victim = Moody(CosineVerifier(linear(seed=3)))
    crafting, index = craft(ProjectedDescent(steps=2), victim=victim), np.arange(20)
    (block,) = crafting.blocks(index)
    batch = crafting.data.batch(index)
    template = victim.enroll(batch.reference, batch.index, Draw())
    each = [victim.score(block.images, template, Draw(0, step=0, k=k)) for k in range(10)]
    assert torch.allclose(crafting._victim_loss(block), torch.stack(each).mean(dim=0), atol=1e-6)
    assert (each[0] - each[1]).abs().max() > 0.1


def test_a_damaged_block_is_named_and_made_again(
    craft: Callable, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    crafting = craft(Counting(lambda pairs: pairs.probe))
    (made,) = crafting.blocks(np.arange(4))
    (file,) = (tmp_path / "results" / "cache" / "adversarial").rglob("*.zst")
    file.write_bytes(file.read_bytes()[:50])
    (again,) = crafting.blocks(np.arange(4))
    assert again.generated
    assert torch.equal(again.images, made.images)
    assert f"{file} is damaged" in capfd.readouterr().err
