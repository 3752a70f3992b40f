"""APGD: the published schedule, stronger than a fixed step, and each pair for itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from frbench.attacks import apgd
from frbench.attacks.apgd import Apgd, checkpoints
from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.core.contracts import Budget, Draw, Goal, Images, Scores, Template, View
from frbench.harness.core.counter_rng import Stream, normal, uniform
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.verifiers import Averaged, CosineVerifier, purified
from frbench.harness.recognizers.architectures.mobilefacenet import MobileFaceNet
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer
from frbench.harness.threat_model.budgets import L2, Dssim, Linf, Unbounded
from frbench.harness.threat_model.goals import Dodging, Impersonation

GOALS = [Dodging(), Impersonation()]
BUDGETS = [Linf(8 / 255), L2(0.5)]
BUDGET_NAMES = ["linf", "l2"]
COUNT = 12


@dataclass(frozen=True)
class Curved:
    """A small network with two layers of sines: its gradient turns within any budget."""

    weight: Tensor
    last: Tensor
    name = "curved"
    differentiable = True
    digest = "curved"

    def embed(self, images: Images) -> Tensor:
        hidden = torch.sin(2 * (images - 0.5).flatten(1) @ self.weight)
        return nn.functional.normalize(torch.sin(2 * hidden @ self.last))


@pytest.fixture
def curved() -> Curved:
    generator = torch.Generator().manual_seed(3)
    return Curved(torch.randn(192, 64, generator=generator) / 8, torch.randn(64, 16, generator=generator) / 4)


def loss_of(view: View, pairs: PairBatch, goal: Goal, images: Images) -> Tensor:
    with torch.no_grad():
        return goal.loss(view.score(images, view.enroll(pairs)))


class TwoClasses(nn.Module):
    """A verification as a classifier, for the library: 0 match, 1 non-match."""

    def __init__(self, view: View, pairs: PairBatch, threshold: float) -> None:
        super().__init__()
        self.view, self.template, self.threshold = view, view.enroll(pairs), threshold
        self.anchor = nn.Parameter(torch.zeros(()))

    def forward(self, images: Images) -> Tensor:
        margin = self.view.score(images, self.template) - self.threshold
        return 4 * (3 + torch.stack([margin, -margin], dim=1))


@pytest.mark.parametrize("steps", [3, 10, 20, 50, 100, 257])
def test_the_step_size_is_looked_at_when_torchattacks_looks_at_it(
    steps: int, curved: Curved, batch: Callable, view: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = pytest.importorskip("torchattacks")
    pairs, looks = batch(4), {}

    def noted(self: object, losses: np.ndarray, at: int, gap: int, *rest: object, **more: object) -> np.ndarray:
        looks[at + 1] = gap
        return np.zeros(losses.shape[1], dtype=bool)

    monkeypatch.setattr(library.APGD, "check_oscillation", noted)
    attack = library.APGD(TwoClasses(view(curved), pairs, 0.3), steps=steps)
    attack.attack_single_run(pairs.probe, (~pairs.same).long())
    assert checkpoints(steps) == looks
    assert len(looks) > (steps > 3)


@pytest.mark.parametrize("goal", GOALS, ids=["dodging", "impersonation"])
def test_it_walks_the_way_of_torchattacks_from_the_same_start(
    goal: Goal, curved: Curved, batch: Callable, view: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cross-entropy on two classes rises where the cosine falls, so the moves and the halvings are the same."""
    library = pytest.importorskip("torchattacks")
    pairs, look = batch(24, same=goal == Dodging()), view(curved, 24)
    noise = torch.rand(pairs.probe.shape, generator=torch.Generator().manual_seed(5))
    noise[:, 0, 0, 0] = 0  # the library scales noise until it touches the ball; this already does
    model = TwoClasses(look, pairs, 0.3)
    monkeypatch.setattr(apgd, "noise_for", lambda *_: noise)
    ours = Apgd(steps=20)(look, pairs, goal, Linf(8 / 255))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "rand", lambda *_: noise)
        attack = library.APGD(model, eps=8 / 255, steps=20)
        theirs, *_ = attack.attack_single_run(pairs.probe, (~pairs.same).long())
    same = ((theirs - ours.images).abs() < 1e-5).flatten(1).float().mean(dim=1) > 0.99
    assert same.float().mean() > 0.8
    assert torch.allclose(
        loss_of(look, pairs, goal, theirs).mean(), loss_of(look, pairs, goal, ours.images).mean(), atol=2e-3
    )


@pytest.mark.parametrize("goal", GOALS, ids=["dodging", "impersonation"])
@pytest.mark.parametrize("budget", [Linf(4 / 255), L2(0.15)], ids=BUDGET_NAMES)
def test_it_beats_a_fixed_step_of_as_many_gradients(
    budget: Budget, goal: Goal, curved: Curved, batch: Callable, view: Callable
) -> None:
    pairs, look = batch(64, same=goal == Dodging()), view(curved, 64)
    ours = loss_of(look, pairs, goal, Apgd(steps=50)(look, pairs, goal, budget).images)
    bim = loss_of(look, pairs, goal, ProjectedDescent(steps=50)(look, pairs, goal, budget).images)
    assert (ours <= bim + 1e-4).float().mean() >= 0.9
    assert ours.mean() < bim.mean()


def real_pairs(root: Path, same: bool, count: int = 8) -> PairBatch:
    """The first people of LFW with two images, each beside their second image or the next one's first."""
    people = [
        files for folder in sorted((root / "lfw" / "aligned_112").iterdir()) if (files := sorted(folder.iterdir()))
    ]
    people = [files for files in people if len(files) > 1][: count + 1]
    stack = torch.from_numpy(np.stack([np.asarray(Image.open(file)) for files in people for file in files[:2]]))
    first, second = (stack.permute(0, 3, 1, 2).float() / 255).unflatten(0, (-1, 2)).unbind(dim=1)
    reference = second[:count] if same else first[1:]
    index = torch.arange(count)
    return PairBatch(first[:count], reference, second[1:], torch.full((count,), same), index, index)


@pytest.mark.realdata
def test_it_beats_bim_on_nine_of_ten_pairs_of_real_faces(real_data: Path) -> None:
    file = real_data / "models" / "foamliu_mobilefacenet.pt"
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    look = View(CosineVerifier(TorchRecognizer("real", MobileFaceNet, str(file), mean=mean, std=std)), torch.zeros(8))
    better = []
    for goal in GOALS:
        pairs = real_pairs(real_data, same=goal == Dodging(), count=5)
        apgd, bim = (
            loss_of(look, pairs, goal, attack(look, pairs, goal, Linf(8 / 255)).images)
            for attack in (Apgd(steps=20), ProjectedDescent(steps=20))
        )
        better.append(apgd <= bim)
    assert torch.cat(better).float().mean() >= 0.9


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("budget", BUDGETS, ids=BUDGET_NAMES)
@pytest.mark.parametrize("attack", [Apgd(steps=30, restarts=2, early_stop=True), Apgd(loss="hinge", steps=30)])
def test_images_do_not_depend_on_the_batch(
    attack: Apgd, budget: Budget, size: int, linear: Callable, batch: Callable, view: Callable
) -> None:
    look, pairs = view(linear()), batch()
    together = attack(look, pairs, Impersonation(), budget)
    parts = [attack(look, pairs[slice(i, i + size)], Impersonation(), budget) for i in range(0, COUNT, size)]
    assert torch.allclose(together.images, torch.cat([part.images for part in parts]), atol=1e-6)
    assert torch.equal(together.iterations, torch.cat([part.iterations for part in parts]))


@pytest.mark.parametrize("budget", [*BUDGETS, Dssim(0.007), Unbounded()], ids=lambda budget: type(budget).__name__)
@pytest.mark.parametrize("loss", ["cosine", "hinge"])
def test_a_zero_gradient_gives_no_nan(
    loss: str, budget: Budget, saturated: object, batch: Callable, view: Callable
) -> None:
    pairs = batch(4, size=16)
    result = Apgd(loss=loss, steps=8)(view(saturated), pairs, Dodging(), budget)
    assert bool(torch.isfinite(result.images).all())
    assert not bool(result.achieved.any())
    assert bool(budget.fits(result.images, pairs.probe).all())


def test_a_radius_for_each_pair_is_each_pairs_own(linear: Callable, batch: Callable, view: Callable) -> None:
    look, pairs, radii = view(linear()), batch(), torch.linspace(0.01, 0.06, COUNT)
    attack = Apgd(steps=20, early_stop=True)
    together = attack(look, pairs, Dodging(), Linf(radii)).images
    alone = [attack(look, pairs[slice(i, i + 1)], Dodging(), Linf(float(radii[i]))).images for i in range(COUNT)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)


def test_the_hinge_moves_nothing_that_is_past_the_aim(linear: Callable, batch: Callable, view: Callable) -> None:
    pairs, start = batch(), Draw(0, Stream.ATTACK, k=2)
    noise = uniform(pairs.index, start, tuple(pairs.probe.shape[1:]))
    result = Apgd(loss="hinge", steps=10)(view(linear(), threshold=1.0), pairs, Dodging(), Linf(0.03))
    assert torch.equal(result.images, Linf(0.03).around(pairs.probe).sample(noise))
    assert bool(result.achieved.all())


def test_the_hinge_aims_beyond_the_threshold_by_the_views_margin(
    linear: Callable, batch: Callable, view: Callable
) -> None:
    pairs, look = batch(same=True), view(linear(), threshold=0.3, margin=0.1)
    attack = Apgd(loss="hinge", steps=60)
    result = attack(look, pairs, Dodging(), Linf(0.2))
    assert attack.stops_early
    assert bool(result.achieved.any())
    assert bool((loss_of(look, pairs, Dodging(), result.images)[result.achieved] <= 0.2 + 1e-6).all())


@dataclass
class Counting:
    """A verifier that counts the rows it scores."""

    inner: CosineVerifier
    rows: int = 0
    differentiable = True
    random = False

    def enroll(self, reference: Images, index: Tensor, draw: Draw) -> Template:
        return self.inner.enroll(reference, index, draw)

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        self.rows += len(probe)
        return self.inner.score(probe, template, draw)


def test_finished_pairs_leave_the_batch(linear: Callable, batch: Callable) -> None:
    pairs = batch(same=True)
    victim = Counting(CosineVerifier(linear()))
    look = View(victim, torch.full((COUNT,), 0.15))
    never = Apgd(steps=20, restarts=2)(look, pairs, Dodging(), Linf(0.1))
    assert victim.rows == 2 * 21 * COUNT
    victim.rows = 0
    early = Apgd(steps=20, restarts=2, early_stop=True)(look, pairs, Dodging(), Linf(0.1))
    assert torch.equal(never.achieved, early.achieved)
    assert bool(early.achieved.any())
    assert torch.equal(loss_of(look, pairs, Dodging(), early.images) <= 0.15, early.achieved)
    assert bool((early.iterations[early.achieved] < never.iterations[early.achieved]).all())
    assert int(early.iterations.sum()) <= victim.rows - COUNT < 2 * 21 * COUNT


def test_the_best_iterate_is_kept_and_more_steps_and_starts_help(
    curved: Curved, batch: Callable, view: Callable
) -> None:
    look, pairs = view(curved), batch(same=True)
    attacks = [Apgd(steps=5), Apgd(steps=40), Apgd(steps=40, restarts=3)]
    few, many, again = (
        loss_of(look, pairs, Dodging(), attack(look, pairs, Dodging(), Linf(0.05)).images) for attack in attacks
    )
    noise = uniform(pairs.index, Draw(0, Stream.ATTACK, k=1), tuple(pairs.probe.shape[1:]))
    assert bool((few <= loss_of(look, pairs, Dodging(), Linf(0.05).around(pairs.probe).sample(noise))).all())
    assert few.mean() > many.mean()
    assert bool((again <= many + 1e-6).all())


@dataclass(frozen=True)
class Noise:
    """A random purifier."""

    differentiable = True
    random = True

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return (images + 0.05 * normal(index, draw, tuple(images.shape[1:]))).clamp(0, 1)


def test_a_random_victim_is_attacked_through_the_mean_of_its_draws(
    linear: Callable, batch: Callable, view: Callable
) -> None:
    victim = Averaged(purified(CosineVerifier(linear()), Noise(), "probe"), 5)
    look, pairs = replace(view(linear()), verifier=victim), batch(same=True)
    attack = Apgd(steps=20)
    result = attack(look, pairs, Dodging(), Linf(0.05))
    fresh = [replace(look, seed=seed) for seed in range(10, 14)]
    before = torch.stack([loss_of(each, pairs, Dodging(), pairs.probe) for each in fresh]).mean(dim=0)
    after = torch.stack([loss_of(each, pairs, Dodging(), result.images) for each in fresh]).mean(dim=0)
    assert bool((after < before - 0.05).all())
    alone = torch.cat([attack(look, pairs[slice(i, i + 1)], Dodging(), Linf(0.05)).images for i in range(COUNT)])
    assert torch.allclose(alone, result.images, atol=1e-6)
