"""PIN, Perturbation Inactivation (Ren et al., IEEE TIFS 2022): projection on eigenfaces selected by a network.

Method and constants follow the authors' code (RenMin1991/Perturbation-Inactivate at a5de786). The published sparsity
keeps almost no eigenface, so the default differs; ``defense=pin_paper`` has the published one.

The method: docs/methods/subspace_projections.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from frbench.defenses.components.artifact_tensors import trained_artifact, without_prefix
from frbench.defenses.subspace.eigenfaces import Eigenfaces, Eigenspace, chunks, gray
from frbench.defenses.subspace.mask_losses import MaskCost, reinforce_loss, sample_masks
from frbench.defenses.subspace.masked_projection import SelectionDefense
from frbench.defenses.subspace.networks import Denoiser, Initial, PinNetwork, SelectionHead
from frbench.harness.core.contracts import Artifact, FitContext
from frbench.harness.core.domains import Components, NonNegative, PositiveInt
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import Images
from frbench.harness.training.loop import Schedule, train

LossAndMetrics = tuple[Tensor, Mapping[str, Tensor]]


def add_noise(faces: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise whose norm is ``strength`` times the norm of the whole batch, as in the authors' code."""
    noise = torch.randn(faces.shape, generator=generator, device=faces.device)
    return faces + noise * (strength * faces.norm() / noise.norm())


def gray_images(images: Images) -> Tensor:
    """Convert RGB images (N, 3, H, W) in [0, 1] to gray faces (N, 1, H, W) in [-1, 1]."""
    return gray(images).reshape(-1, 1, *images.shape[2:])


class _DenoiserLearner(nn.Module):
    """``Learner`` of the denoiser: mean squared error of both passes. The authors publish no training of theirs."""

    def __init__(self, width: int, strength: float, initial: Initial) -> None:
        super().__init__()
        self.network, self.strength = Denoiser(width, initial), strength

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> LossAndMetrics:
        faces = gray_images(images)
        first, second = self.network(add_noise(faces, self.strength, generator))
        return mse_loss(first, faces) + mse_loss(second, faces), {"second_pass": mse_loss(second, faces)}

    def after_step(self, steps: int) -> None:
        pass


@dataclass(frozen=True)
class DenoiserRecipe:
    """Training of the denoiser before the selector.

    Attributes:
        width: channels of its first stage.
        noise: norm of the Gaussian noise relative to that of the batch.
        schedule: training schedule.
        weight_init: initial weights, ``he`` (He et al., 2015) or ``torch`` (PyTorch's own).
    """

    identity = "recipe.pin_denoiser"
    version = 1

    width: PositiveInt
    noise: NonNegative
    schedule: Schedule
    weight_init: Initial = "he"

    needs_recognizer = False

    def fit(self, context: FitContext) -> Artifact:
        torch.manual_seed(context.seed)
        learner = _DenoiserLearner(self.width, self.noise, self.weight_init)
        return trained_artifact(learner.network, train(learner, self.schedule, context, "denoiser"))


class PinLearner(nn.Module):
    """``Learner`` of the selector's encoder and head; it uses neither the recognizer nor labels.

    Args:
        network: the selector.
        space: the eigenfaces.
        recipe: cost, noise and estimator.
        weight: weight (components,) of each eigenface in the estimator ``exact`` and ``logistic``.
    """

    def __init__(self, network: PinNetwork, space: Eigenspace, recipe: PinRecipe, weight: Tensor) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe
        self.weight = nn.Buffer(weight, persistent=False)
        self.mean = nn.Buffer(space.mean, persistent=False)
        self.basis = nn.Buffer(space.basis, persistent=False)

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> LossAndMetrics:
        full_precision = torch.autocast(images.device.type, enabled=False)  # costs are small differences
        with full_precision:
            faces = gray_images(images)
            noisy = add_noise(faces, self.recipe.noise, generator)
        logits = self.network(noisy).float()
        with full_precision:
            return self.selection_loss(logits, faces, noisy, generator)

    def selection_loss(
        self, logits: Tensor, faces: Tensor, noisy: Tensor, generator: torch.Generator
    ) -> LossAndMetrics:
        """Loss of the keep logits (B, N) for gray faces (B, 1, H, W) and their noisy versions."""
        recipe, space = self.recipe, Eigenspace(self.mean, self.basis)
        with torch.no_grad():
            clean, perturbed = (space.coefficients(each.flatten(1)) for each in (faces, noisy))
            pixels = self.mean.numel()
            residual = (faces.flatten(1) - self.mean).square().sum(dim=1) - clean.square().sum(dim=1)
        keep = logits.sigmoid()
        expected = recipe.cost.evaluate(keep[:, None], clean, perturbed, residual, pixels).mean()
        oracle = recipe.cost.oracle(clean, perturbed, pixels)
        metrics = {
            "cost": expected,
            "kept": keep.sum(dim=1).mean(),
            "oracle_kept": oracle.float().sum(dim=1).mean(),
            "agreement": ((keep > 0.5) == oracle).float().mean(),
            "undecided": (keep * (1 - keep)).mean() * 4,
        }
        slope = recipe.cost.per_eigenvector(clean, perturbed, pixels)[1] * self.weight
        if recipe.estimator == "exact":
            return (keep * slope).mean(), metrics
        if recipe.estimator == "logistic":
            return binary_cross_entropy_with_logits(logits, oracle.float(), slope.abs()), metrics
        masks = sample_masks(logits, recipe.mask_samples, generator)
        costs = recipe.cost.evaluate(masks, clean, perturbed, residual, pixels)
        return reinforce_loss(logits, masks, costs, recipe.baseline), metrics

    def after_step(self, steps: int) -> None:
        pass


@dataclass(frozen=True)
class PinRecipe:
    """Training of the selector of PIN.

    Attributes:
        components: number of eigenfaces to select from.
        width: channels of the encoder's first stage (published: 64).
        hidden: units of the head (published: 512).
        denoiser: training of the denoiser, on the same faces.
        cost: cost of a mask.
        schedule: training schedule.
        noise: norm of the Gaussian noise relative to that of the batch (published: 0.04).
        estimator: ``reinforce`` (published) estimates the gradient of the expected cost from ``mask_samples`` masks per
            image. ``exact`` uses its closed form with each eigenface scaled by its mean cost, so that large
            coefficients do not dominate; its gradient vanishes for confident selections. ``logistic`` is the cross
            entropy with the mask of least cost, weighted by the cost of a wrong bit; it has the same optimum and its
            gradient does not vanish.
        baseline: baseline of ``reinforce``: mean cost of the batch, the image or the image's other masks.
        mask_samples: masks per image of ``reinforce`` (published: 30).
        init_from_oracle: whether the head starts from the mean optimal mask instead of keep probabilities of one half.
        weight_init: initial weights of the encoder, ``he`` (He et al., 2015) or ``torch`` (PyTorch's own, published).
    """

    identity = "recipe.pin"
    version = 1

    components: Components
    width: PositiveInt
    hidden: PositiveInt
    denoiser: DenoiserRecipe
    cost: MaskCost
    schedule: Schedule
    noise: NonNegative = 0.04
    estimator: Literal["exact", "logistic", "reinforce"] = "logistic"
    baseline: Literal["batch", "image", "others"] = "batch"
    mask_samples: PositiveInt = 30
    init_from_oracle: bool = True
    weight_init: Initial = "he"

    def check_combination(self, where: str) -> None:
        if self.estimator == "reinforce" and self.baseline != "batch" and self.mask_samples < 2:
            raise ConfigError(
                f"{where}.mask_samples={self.mask_samples}: baseline={self.baseline} needs 2 or more masks per image; "
                f"set {where}.mask_samples to at least 2"
            )

    needs_recognizer = False

    def network(self) -> PinNetwork:
        return PinNetwork(self.width, self.hidden, self.denoiser.width, self.components, initial=self.weight_init)

    def fit(self, context: FitContext) -> Artifact:
        faces = context.part(Eigenfaces(self.components))
        space = Eigenspace.of(faces, context.device)
        torch.manual_seed(context.seed)
        network = self.network().to(context.device)
        network.denoiser.load_state_dict(without_prefix(context.part(self.denoiser), "network"))
        frequency, weight = self._oracle_statistics(context, space)
        if self.init_from_oracle:
            initialise_head(network.head, frequency)
        history = train(PinLearner(network, space, self, weight), self.schedule, context, "selector")
        return {name: faces[name] for name in ("mean", "basis")} | trained_artifact(network, history)

    def _oracle_statistics(self, context: FitContext, space: Eigenspace) -> tuple[Tensor, Tensor]:
        """Frequency (components,) with which optimal masks of clean faces keep each eigenface, and 1 / mean |slope|."""
        kept, magnitude = torch.zeros(2, self.components, device=context.device)
        for chunk in chunks(context.faces, context.device):
            clean = space.coefficients(chunk)
            slope = self.cost.per_eigenvector(clean, clean, space.mean.numel())[1]
            kept += (slope < 0).sum(dim=0)
            magnitude += slope.abs().sum(dim=0)
        count = len(context.faces.images)
        return kept / count, count / magnitude


@torch.no_grad()
def initialise_head(head: SelectionHead, frequency: Tensor) -> None:
    """Set the head so that its keep probabilities are close to ``frequency`` (components,), within [0.02, 0.98]."""
    head.choice.weight.mul_(0.1)
    head.choice.bias.copy_(torch.logit(frequency, eps=0.02))


@dataclass(frozen=True)
class PinDefense(SelectionDefense):
    """PIN, fitted without a recognizer: one fit serves all of them."""

    identity = "defense.pin"
    version = 1

    recipe: PinRecipe

    option: ClassVar[str] = "pin"
