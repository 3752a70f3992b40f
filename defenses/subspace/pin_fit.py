"""How PIN is fitted: a denoiser, then a network that keeps or drops each eigenvector of a face (specs/pin_ais 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from frbench.defenses.components.artifact_keys import named, under
from frbench.defenses.subspace.eigenfaces import Eigenfaces, Eigenspace, chunks, gray
from frbench.defenses.subspace.mask_losses import MaskCost, draw_masks, score_function_loss
from frbench.defenses.subspace.networks import Denoiser, Encoder, Initial, SelectionHead
from frbench.harness.core.contracts import Artifact, FitContext
from frbench.harness.core.domains import Components, NonNegative, PositiveInt
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import Images
from frbench.harness.training.loop import Schedule, train

Logged = tuple[Tensor, Mapping[str, Tensor]]


def noisy(faces: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """``faces`` with Gaussian noise of ``strength`` times the norm of the whole batch (the authors' code, spec 3.2)."""
    noise = torch.randn(faces.shape, generator=generator, device=faces.device)
    return faces + noise * (strength * faces.norm() / noise.norm())


def as_pictures(images: Images) -> Tensor:
    """Gray faces (N, 1, H, W) in [-1, 1]."""
    return gray(images).reshape(-1, 1, *images.shape[2:])


class _Denoising(nn.Module):
    """A ``Learner`` of both passes of the denoiser. The authors published no recipe; this is the plain one."""

    def __init__(self, width: int, strength: float, initial: Initial) -> None:
        super().__init__()
        self.network, self.strength = Denoiser(width, initial), strength

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> Logged:
        faces = as_pictures(images)
        once, twice = self.network(noisy(faces, self.strength, generator))
        return mse_loss(once, faces) + mse_loss(twice, faces), {"second_pass": mse_loss(twice, faces)}

    def stepped(self, steps: int) -> None:
        pass


@dataclass(frozen=True)
class DenoiserRecipe:
    """The denoiser before the selector: width of its first stage, noise relative to the norm of a batch.

    initial: weights that it starts from: ``he`` (He et al.'s), or ``torch`` (PyTorch's own, published).
    """

    identity = "recipe.pin_denoiser"
    version = 1

    width: PositiveInt
    noise: NonNegative
    schedule: Schedule
    initial: Initial = "he"

    needs_recognizer = False

    def fit(self, context: FitContext) -> Artifact:
        torch.manual_seed(context.seed)
        learner = _Denoising(self.width, self.noise, self.initial)
        history = train(learner, self.schedule, context, "denoiser")
        return named("network", learner.network.state_dict()) | named("history", history)


class PinNetwork(nn.Module):
    """Gray faces (N, 1, H, W) in [-1, 1] to logits (N, components): frozen denoiser, encoder, head."""

    def __init__(
        self,
        width: int,
        hidden: int,
        denoiser_width: int,
        components: int,
        side: int = 112,
        initial: Initial = "he",
    ) -> None:
        super().__init__()
        self.denoiser = Denoiser(denoiser_width).requires_grad_(False)
        self.encoder = Encoder(width, initial=initial)
        self.head = SelectionHead(8 * width * (side // 16) ** 2, hidden, components)

    def forward(self, faces: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.encoder(self.denoiser(faces)[1])))


class _Choosing(nn.Module):
    """A ``Learner`` of the encoder and the head. Neither the recognizer nor a label takes part."""

    def __init__(self, network: PinNetwork, space: Eigenspace, recipe: PinRecipe, weight: Tensor) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe
        self.weight = nn.Buffer(weight, persistent=False)
        self.mean = nn.Buffer(space.mean, persistent=False)
        self.basis = nn.Buffer(space.basis, persistent=False)

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> Logged:
        exactly = torch.autocast(images.device.type, enabled=False)  # costs are small differences of large numbers
        with exactly:
            faces = as_pictures(images)
            disturbed = noisy(faces, self.recipe.noise, generator)
        logits = self.network(disturbed).float()
        with exactly:
            return self._judged(logits, faces, disturbed, generator)

    def _judged(self, logits: Tensor, faces: Tensor, disturbed: Tensor, generator: torch.Generator) -> Logged:
        """What the choice of ``logits`` costs, in full precision."""
        recipe, space = self.recipe, Eigenspace(self.mean, self.basis)
        with torch.no_grad():
            clean, attacked = (space.coefficients(each.flatten(1)) for each in (faces, disturbed))
            pixels = self.mean.numel()
            residual = (faces.flatten(1) - self.mean).square().sum(dim=1) - clean.square().sum(dim=1)
        keep = logits.sigmoid()
        expected = recipe.cost.of(keep[:, None], clean, attacked, residual, pixels).mean()
        figures = {
            "cost": expected,
            "kept": keep.sum(dim=1).mean(),
            "oracle_kept": (oracle := recipe.cost.oracle(clean, attacked, pixels)).float().sum(dim=1).mean(),
            "agreement": ((keep > 0.5) == oracle).float().mean(),
            "undecided": (keep * (1 - keep)).mean() * 4,
        }
        slope = recipe.cost.per_eigenvector(clean, attacked, pixels)[1] * self.weight
        if recipe.estimator == "exact":
            return (keep * slope).mean(), figures
        if recipe.estimator == "logistic":
            return binary_cross_entropy_with_logits(logits, oracle.float(), slope.abs()), figures
        masks = draw_masks(logits, recipe.draws, generator)
        costs = recipe.cost.of(masks, clean, attacked, residual, pixels)
        return score_function_loss(logits, masks, costs, recipe.baseline), figures

    def stepped(self, steps: int) -> None:
        pass


@dataclass(frozen=True)
class PinRecipe:
    """PIN's selector on ``components`` eigenfaces of the same faces.

    width, hidden: of the encoder's first stage (64 published) and of the head (512).
    cost: sparsity and reduction. noise: Gaussian, relative to the norm of a batch (0.04).
    estimator: ``reinforce`` (published) descends an estimate of the expected cost from ``draws`` masks (30) an image.
    ``exact`` descends its closed form, each eigenvector's part in units of its own mean, so that the few of large
    coefficients do not drown the others; its gradient dies where the choice is sure, right or wrong. ``logistic``
    descends the log-loss of the best choice, weighted by what a wrong one costs: the same best mask, and no dying.
    informed: the head starts from how often the best mask keeps each eigenvector, not from one half.
    initial: weights that the encoder starts from: ``he`` (He et al.'s), or ``torch`` (PyTorch's own, published).
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
    estimator: Literal["exact", "logistic", "reinforce"] = "exact"
    baseline: Literal["batch", "image", "others"] = "batch"
    draws: PositiveInt = 30
    informed: bool = True
    initial: Initial = "he"

    def check_combination(self, where: str) -> None:
        if self.estimator == "reinforce" and self.baseline != "batch" and self.draws < 2:
            raise ConfigError(
                f"{where}.draws={self.draws}: baseline={self.baseline} is a mean over 2 draws of an image or more"
            )

    needs_recognizer = False

    def network(self) -> PinNetwork:
        return PinNetwork(self.width, self.hidden, self.denoiser.width, self.components, initial=self.initial)

    def fit(self, context: FitContext) -> Artifact:
        faces = context.part(Eigenfaces(self.components))
        space = Eigenspace.of(faces, context.device)
        torch.manual_seed(context.seed)
        network = self.network().to(context.device)
        network.denoiser.load_state_dict(under(context.part(self.denoiser), "network"))
        frequency, weight = self._known_before(context, space)
        if self.informed:
            start_from(network.head, frequency)
        history = train(_Choosing(network, space, self, weight), self.schedule, context, "selector")
        basis = {name: faces[name] for name in ("mean", "basis")}
        return basis | named("network", network.state_dict()) | named("history", history)

    def _known_before(self, context: FitContext, space: Eigenspace) -> tuple[Tensor, Tensor]:
        """How often (components,) the best mask of a clean face keeps each eigenvector, and 1 / its mean |slope|."""
        kept, size = torch.zeros(2, self.components, device=context.device)
        for chunk in chunks(context.faces, context.device):
            clean = space.coefficients(chunk)
            slope = self.cost.per_eigenvector(clean, clean, space.mean.numel())[1]
            kept += (slope < 0).sum(dim=0)
            size += slope.abs().sum(dim=0)
        count = len(context.faces.images)
        return kept / count, count / size


@torch.no_grad()
def start_from(head: SelectionHead, frequency: Tensor) -> None:
    """Let the head say about ``frequency`` (components,) of every face at first, within [0.02, 0.98]."""
    head.choice.weight.mul_(0.1)
    head.choice.bias.copy_(torch.logit(frequency, eps=0.02))
