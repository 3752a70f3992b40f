"""The races of bench_defenses.py: computations of PIN and AIS at the sizes of their presets on random data."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from time import perf_counter
from typing import Any

import numpy as np
import torch
from _common import compose_config, default_faces
from masked_copies import AisByCopies, PinByCopies, costs
from scipy.fft import dct
from torch import Tensor, nn

from frbench.defenses.components.artifact_tensors import with_prefix
from frbench.defenses.subspace.ais import AdversarialLearner
from frbench.defenses.subspace.ais_learner import SelectorLearner
from frbench.defenses.subspace.eigenfaces import Eigenspace, gray
from frbench.defenses.subspace.pin import PinLearner, add_noise
from frbench.harness.config import build
from frbench.harness.core.contracts import Draw, Fitted
from frbench.harness.recognizers.architectures.iresnet import IResNet
from frbench.harness.recognizers.inference import prepare

SIDE, SHORTEST = 112, 0.3  # pixels; least duration of a timing in seconds
TIMES, SHARE = 100.0, 0.15  # the limits
EPOCH = 1000  # steps
RATE = 1e-9  # keeps the weights, so that every round does the same work
_SMALL_SELECTOR = (
    "warmup.selector.components=100",
    "warmup.selector.initial_leading=50",
    "warmup.selector.width=2",
    "warmup.selector.hidden=8",
)
SMALL = {  # small sizes of the presets
    # with PyTorch's initial weights the masks are nearly equal and cancel in the loss up to float noise
    "pin": (
        "components=100",
        "width=2",
        "hidden=8",
        "weight_init=he",
        "denoiser.width=2",
        "mask_samples=8",
        "schedule.batch_size=3",
    ),
    "ais": (*_SMALL_SELECTOR, "warmup.cost.mask_samples=8", "schedule.batch_size=3"),
}


@dataclass(frozen=True)
class Entrant:
    """A timed function; ``least`` and ``most`` limit its time as multiples of the first entrant's."""

    name: str
    work: Callable[[], object]
    least: float | None = None
    most: float | None = None

    def seconds(self, task: object) -> float:
        """Seconds per call, over several calls of a short function."""
        started, runs = perf_counter(), 0
        while runs == 0 or perf_counter() - started < SHORTEST:
            self.work()
            runs += 1
        return (perf_counter() - started) / runs


@dataclass(frozen=True)
class Race:
    """A comparison with the first entrant; ``weighed`` measures memory too, ``costs`` holds the results by entrant."""

    title: str
    entrants: Sequence[Entrant]
    weighed: bool = True
    costs: dict[str, Tensor] | None = None


def configured(words: Sequence[str], noun: str) -> Any:
    config = compose_config([*words, "device=cpu"])
    return build.instantiate(config[noun], noun)


def preset(name: str, options: argparse.Namespace) -> Any:
    """The unfitted defense ``name`` of conf/defense."""
    small = [f"defense.recipe.{word}" for word in SMALL[name[:3]]] if options.small else []
    return configured([f"defense={name}", *small], "defense")


def space(components: int) -> Eigenspace:
    """The lowest frequencies of the cosine transform, an orthonormal basis similar to eigenfaces."""
    side = isqrt(components - 1) + 1
    waves = torch.from_numpy(dct(np.eye(SIDE), norm="ortho", axis=0).T[:, :side].copy()).float()
    basis = torch.einsum("iu,jv->ijuv", waves, waves).reshape(SIDE * SIDE, -1)[:, :components]
    return Eigenspace(torch.zeros(SIDE * SIDE), basis.contiguous())


def photos(count: int) -> Tensor:
    """Smooth random images, which a basis of low frequencies represents well."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(coarse, SIDE, mode="bilinear").contiguous(memory_format=torch.channels_last)


def _masked(count: int, draws: int, components: int) -> tuple[Tensor, Tensor, Tensor]:
    """Gray faces (B, D), their noisy versions and masks (B, K, N)."""
    chance, faces = torch.Generator().manual_seed(0), gray(photos(count))
    masks = torch.bernoulli(torch.full((count, draws, components), 0.5), generator=chance)
    return faces, add_noise(faces, 0.04, chance), masks


def _against_copies(title: str, ours: Callable[[], Tensor], copies: Callable[[], Tensor]) -> Race:
    found: dict[str, Tensor] = {}

    def kept(name: str, work: Callable[[], Tensor]) -> Callable[[], None]:
        def run() -> None:
            with torch.no_grad():
                found[name] = work()

        return run

    entrants = [Entrant("frbench", kept("frbench", ours)), Entrant("masked copies", kept("copies", copies), TIMES)]
    return Race(title, entrants, costs=found)


def pin_masks(options: argparse.Namespace) -> Race:
    """Costs of the masks of PIN from images."""
    recipe = preset("pin_paper", options).recipe
    basis, count = space(recipe.components), recipe.schedule.batch_size
    faces, attacked, masks = _masked(count, recipe.mask_samples, recipe.components)

    def ours() -> Tensor:
        clean, moved = basis.coefficients(faces), basis.coefficients(attacked)
        residual = (faces - basis.mean).square().sum(dim=1) - clean.square().sum(dim=1)
        return recipe.cost.evaluate(masks, clean, moved, residual, faces.shape[1])

    title = f"PIN, masks to costs: {count} images, {recipe.mask_samples} masks, {recipe.components} eigenvectors"
    return _against_copies(title, ours, lambda: costs(basis, recipe.cost.sparsity, attacked, faces, masks))


class ConstantRecognizer:
    """A recognizer without cost, since both entrants would run the same one."""

    def embed(self, images: Tensor) -> Tensor:
        return torch.ones(len(images), 1)


def ais_masks(options: argparse.Namespace) -> Race:
    """Purified faces of all masks of AIS and their costs without the identity loss."""
    recipe = preset("ais_paper", options).recipe
    cost, components = replace(recipe.warmup.cost, identity_loss=0.0), recipe.warmup.selector.components
    basis, count = space(components), recipe.schedule.batch_size
    faces, attacked, masks = _masked(count, cost.mask_samples, components)
    learner = SelectorLearner(nn.Identity(), basis, cost, ConstantRecognizer())
    images, anchor = photos(count), torch.ones(count, 1)

    def ours() -> Tensor:
        gated = basis.coefficients(attacked)[:, None] * masks
        return learner.mask_costs(gated, masks, faces, anchor, images)[0]

    title = (
        f"AIS, masks to costs without identity: {count} images, {cost.mask_samples} masks, {components} eigenvectors"
    )
    return _against_copies(title, ours, lambda: costs(basis, cost.sparsity, attacked, faces, masks))


def _step(learner: Any, images: Tensor) -> Callable[[], float]:
    """A training step that returns its loss."""
    weights = [each for each in learner.train().parameters() if each.requires_grad]
    optimizer, rows = torch.optim.SGD(weights, RATE, momentum=0.9), torch.arange(len(images))

    def run() -> float:
        loss, _ = learner.loss(images, rows, torch.Generator().manual_seed(0))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        learner.after_step(1)
        return float(loss.detach())

    return run


def _seeded(recipe: Any) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = recipe.network()
    return network


def pin_step(options: argparse.Namespace) -> Race:
    recipe = preset("pin_paper", options).recipe
    basis, images = space(recipe.components), photos(recipe.schedule.batch_size)
    exact, even = replace(recipe, estimator="exact"), torch.ones(recipe.components)
    learners = {
        "frbench, reinforce": PinLearner(_seeded(recipe), basis, recipe, even),
        "frbench, exact": PinLearner(_seeded(recipe), basis, exact, even),
        "masked copies, reinforce": PinByCopies(_seeded(recipe), basis, recipe, even),
    }
    entrants = [Entrant(name, _step(learner, images)) for name, learner in learners.items()]
    return Race(
        f"PIN, a step of training: {len(images)} images, {recipe.mask_samples} masks, width {recipe.width}", entrants
    )


def ais_step(options: argparse.Namespace) -> Race:
    recipe = preset("ais_paper", options).recipe
    recognizer = configured([*default_faces(), *options.overrides], "recognizer")
    selector, cost, images = recipe.warmup.selector, recipe.warmup.cost, photos(recipe.schedule.batch_size)
    basis, entrants = space(selector.components), []
    for name, kind in (("frbench, reinforce", AdversarialLearner), ("masked copies, reinforce", AisByCopies)):
        parts = (_seeded(recipe), basis, cost, recognizer)
        learner = kind(*parts, recipe=recipe, artifact=Fitted("none", "", {}), per_epoch=EPOCH)
        entrants.append(Entrant(name, _step(learner, images)))
    title = (
        f"AIS, an adversarial training step through {recognizer.name}: {len(images)} images, {cost.mask_samples} masks"
    )
    return Race(f"{title}, width {selector.width}", entrants)


def purification(options: argparse.Namespace) -> Race:
    """Purification of a batch against the forward pass of a prepared IResNet-50."""
    torch.manual_seed(0)
    network = prepare(IResNet((1, 1, 1, 1) if options.small else (3, 4, 14, 3)))
    images, index = photos(options.batch), torch.arange(options.batch)

    def untracked(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        return torch.no_grad()(work)

    entrants = [Entrant("IResNet-50", untracked(lambda: network(images * 2 - 1)))]
    for components in (800, 2500):
        fixed = space(components)
        work = untracked(lambda fixed=fixed: fixed.project(images))
        entrants.append(Entrant(f"projection on {components} eigenvectors", work, most=SHARE))
    for name, most in (("pin", SHARE), ("ais", SHARE), ("pin_full", None), ("ais_full", None)):
        purifier = _purifier(preset(name, options))
        work = untracked(lambda purifier=purifier: purifier(images, index, Draw()))
        entrants.append(Entrant(f"defense={name}", work, most=most))
    return Race(f"Purification of {options.batch} images", entrants, weighed=False)


def _purifier(defense: Any) -> Any:
    network = _seeded(defense.recipe).eval()
    basis = space(network(torch.zeros(1, 1, SIDE, SIDE)).shape[1])
    tensors = {"mean": basis.mean, "basis": basis.basis, **with_prefix("network", network.state_dict())}
    return defense.fitted(Fitted("random", "", tensors)).purifier()


RACES = {each.__name__: each for each in (pin_masks, ais_masks, pin_step, ais_step, purification)}
