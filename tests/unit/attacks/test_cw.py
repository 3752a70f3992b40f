"""Carlini and Wagner's attack: as strong as others that take more work, on toys and on faces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from frbench.attacks.cw import CarliniWagner
from frbench.attacks.deepfool import DeepFool
from frbench.attacks.minimal import Minimal
from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.datasets.lfw import read_pairs
from frbench.harness.config import build, resolution
from frbench.harness.core.contracts import Attack, Goal, Images, Scores, Template, View
from frbench.harness.core.face_data import PairBatch, load_images
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.threat_model.budgets import L2, Unbounded
from frbench.harness.threat_model.goals import Dodging, Impersonation

GOALS = [Dodging(), Impersonation()]


@dataclass(frozen=True)
class Curved:
    """An embedder of two layers with a bend, so that slopes turn on the way."""

    first: Tensor
    second: Tensor
    name: str = "curved"
    differentiable: bool = True
    digest: str = "curved"

    def embed(self, images: Images) -> Tensor:
        return nn.functional.normalize(torch.tanh((images - 0.5).flatten(1) @ self.first) @ self.second)


@pytest.fixture
def curved() -> Curved:
    generator = torch.Generator().manual_seed(1)
    return Curved(torch.randn(192, 64, generator=generator) / 4, torch.randn(64, 16, generator=generator))


def sizes(attack: Attack, view: View, pairs: PairBatch, goal: Goal) -> Tensor:
    """L2 sizes (N,), infinite where the attack failed."""
    result = attack(view, pairs, goal, Unbounded())
    return torch.where(result.achieved, L2(1.0).size(result.images, pairs.probe), torch.inf)


@pytest.mark.parametrize("goal", GOALS, ids=["dodging", "impersonation"])
def test_its_median_is_not_above_that_of_deepfool_or_of_bim_with_a_searched_radius(
    goal: Goal, curved: Curved, batch: Callable, view: Callable
) -> None:
    look, pairs = view(curved), batch(same=goal == Dodging())
    ours = sizes(CarliniWagner(steps=100), look, pairs, goal).median()
    bim = Minimal(ProjectedDescent(steps=20, early_stop=True), L2(4.0))
    assert ours <= sizes(bim, look, pairs, goal).median() * 1.002
    assert ours < sizes(DeepFool(), look, pairs, goal).median()


@pytest.mark.parametrize("goal", GOALS, ids=["dodging", "impersonation"])
def test_black_and_white_pixels_move_as_far_as_others(
    goal: Goal, linear: Callable, batch: Callable, view: Callable
) -> None:
    pairs = batch(same=goal == Dodging())
    change = (CarliniWagner()(view(linear()), pairs, goal, Unbounded()).images - pairs.probe).abs()
    inner = change[:, :, 1:-1].mean()
    assert change[:, :, 0].mean() > 0.2 * inner  # half of them would leave the box and stay
    assert change[:, :, -1].mean() > 0.2 * inner


def test_a_pair_whose_constant_is_settled_leaves_the_search(linear: Callable, batch: Callable, view: Callable) -> None:
    attack = CarliniWagner(binary_search_steps=5)
    result = attack(view(linear()), batch(same=True), Dodging(), Unbounded())
    assert bool(result.achieved.all())
    assert result.iterations.max() < attack.newton_warmup_steps + attack.binary_search_steps * attack.steps


def test_a_poor_first_constant_is_searched_away(
    linear: Callable, batch: Callable, view: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred times too small at first, or a thousand times too large: the rounds find the way."""
    look, pairs, goal = view(linear()), batch(same=False), Impersonation()
    good = sizes(CarliniWagner(), look, pairs, goal)
    for factor in (1e-2, 1e3):
        monkeypatch.setattr("frbench.attacks.cw._FIRST_RATIO", factor)
        one = CarliniWagner(newton_warmup_steps=1, binary_search_steps=1, line_search_steps=0)
        many = CarliniWagner(newton_warmup_steps=1, binary_search_steps=20, line_search_steps=0)
        found, lost = sizes(many, look, pairs, goal), sizes(one, look, pairs, goal)
        assert bool(found.isfinite().all())
        assert found.median() < 1.1 * good.median()
        assert found.mean() < 0.95 * lost.mean()


class TwoClasses(nn.Module):
    """The decision as two positive logits whose difference is the score over the aim, for torchattacks."""

    def __init__(self, view: View, template: Template, aim: Scores, network: nn.Module) -> None:
        super().__init__()
        self.view, self.template, self.aim, self.network, self.calls = view, template, aim, network, 0
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        over = self.view.score(images, self.template) - self.aim
        return 3 + torch.stack([over, -over], dim=1) / 2


@pytest.mark.realdata
@pytest.mark.parametrize("goal", GOALS, ids=["dodging", "impersonation"])
def test_on_faces_its_median_is_at_most_that_of_torchattacks_at_equal_passes(goal: Goal, real_data: Path) -> None:
    torchattacks = pytest.importorskip("torchattacks")
    view, pairs = faces(real_data, goal)
    model = TwoClasses(view, view.enroll(pairs), view.aim(goal, pairs.index), view.verifier.recognizer.network)
    theirs = torchattacks.CW(model, c=10, lr=0.01, steps=40)(pairs.probe, (~pairs.same).to(torch.int64)).detach()
    with torch.no_grad():
        achieved = goal.achieved(view.score(theirs, model.template), model.aim)
    median = torch.where(achieved, L2(1.0).size(theirs, pairs.probe), torch.inf).median()
    steps = max(model.calls - 3, 1)
    ours = sizes(CarliniWagner(binary_search_steps=1, steps=steps, line_search_steps=0), view, pairs, goal)
    assert bool(ours.isfinite().all())
    assert ours.median() <= median


def listed(root: Path, first: int, count: int) -> PairBatch:
    """``count`` pairs of the official list, from number ``first``."""
    from PIL import Image

    named = read_pairs("lfw", root / "pairs.txt")[first : first + count]
    files = [root / "aligned_112" / f"{name}" for pair in named for name in (pair.probe, pair.reference)]
    stack = np.stack([np.asarray(Image.open(file)) for file in files])
    probe, reference = load_images(stack, np.arange(2 * count)).unflatten(0, (count, 2)).unbind(dim=1)
    same, index = torch.tensor([pair.same for pair in named]), torch.arange(count)
    return PairBatch(probe, reference, reference, same, index, index)


def faces(root: Path, goal: Goal) -> tuple[View, PairBatch]:
    """Five pairs of LFW that the recognizer has right."""
    import hydra

    words = ["recognizer=foamliu_mobilefacenet", f"paths.data={root}", "device=cpu"]
    with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
        config = resolution.plain(hydra.compose("run", words))
    recognizer = build.instantiate(config["recognizer"], "recognizer")
    pairs = listed(root / "lfw", first=0 if goal == Dodging() else 300, count=8)
    view = View(CosineVerifier(recognizer), torch.full((6000,), 0.27), margin=1e-3)
    with torch.no_grad():
        right = ~goal.achieved(view.score(pairs.probe, view.enroll(pairs)), view.thresholds[pairs.index])
    return view, pairs[right.nonzero().flatten()[:5]]
