"""How AIS is fitted: a warm-up on Gaussian noise, then a rehearsal against an attack on its lagging average
(specs/pin_ais 4.3 and 4.4, after the authors' code)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from frbench.defenses.components.artifact_keys import named, under
from frbench.defenses.components.unclamped_budget import Unclamped
from frbench.defenses.subspace.ais_network import AisNetwork
from frbench.defenses.subspace.eigenfaces import Eigenfaces, Eigenspace, colour, gray
from frbench.defenses.subspace.mask_losses import draw_masks, score_function_loss
from frbench.defenses.subspace.masked_projection import Selected, ThroughMask
from frbench.defenses.subspace.networks import Initial
from frbench.defenses.subspace.pin_fit import Logged
from frbench.harness.core.contracts import Artifact, Attack, FitContext, Fitted, Recognizer, View
from frbench.harness.core.domains import Components, Fraction, NonNegative, OpenFraction, PixelChange, PositiveInt
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import Images, PairBatch
from frbench.harness.core.verifiers import CosineVerifier, cosine, purified
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.goals import Dodging
from frbench.harness.training.loop import Schedule, train


@dataclass(frozen=True)
class AisCost:
    """``error / pixels + sparsity * kept + identity_loss * (1 - cosine)`` of a mask; the cosine is the recognizer's.

    estimator: ``reinforce`` (published) of ``draws`` masks an image; ``straight_through`` differentiates the recognizer
    through ``draws`` masks whose bits have the derivative of their probability, with far less variance.
    """

    identity = "recipe.ais_loss"
    version = 1

    sparsity: NonNegative = 3e-3
    identity_loss: NonNegative = 8.0
    estimator: Literal["reinforce", "straight_through"] = "reinforce"
    draws: PositiveInt = 25

    def check_combination(self, where: str) -> None:
        if self.estimator == "reinforce" and self.draws < 2:
            raise ConfigError(f"{where}.draws={self.draws}: the baseline of reinforce is a mean over 2 draws or more")


@dataclass(frozen=True)
class Antibody:
    """Sizes of the networks: ``components`` eigenfaces (1,500 published), ``width`` (64), ``hidden`` (512), memory.

    start: how probable keeping an eigenvector is at first; published networks start at one half. leading: only so many
    of the largest variance start so, the others at ``1 - start``; None is all. Masks that are sure from the beginning
    spare the recognizer the noise of a thousand coins, in which it sees no face.
    initial: weights that the encoder starts from: ``he`` (He et al.'s), or ``torch`` (PyTorch's own, published).
    """

    identity = "recipe.ais_selector"
    version = 1

    components: Components
    width: PositiveInt
    hidden: PositiveInt
    items: PositiveInt = 128
    update: Literal["reference", "hit_only"] = "reference"
    start: OpenFraction = 0.5
    leading: PositiveInt | None = None
    initial: Initial = "he"

    def check_combination(self, where: str) -> None:
        if self.leading is not None and self.leading > self.components:
            raise ConfigError(f"{where}.leading={self.leading} is above {where}.components={self.components}")

    def network(self) -> AisNetwork:
        network = AisNetwork(self.width, self.hidden, self.components, self.items, self.update, initial=self.initial)
        last = network.generator[-1]
        assert isinstance(last, nn.BatchNorm1d)
        with torch.no_grad():
            last.bias.fill_(-math.log(self.start / (1 - self.start)))
            last.bias[: self.leading] *= -1
        return network


class _Selecting(nn.Module):
    """A ``Learner`` of the whole network against what disturbs its faces."""

    def __init__(self, network: AisNetwork, space: Eigenspace, cost: AisCost, recognizer: Recognizer) -> None:
        super().__init__()
        self.network, self.cost, self.recognizer = network, cost, recognizer
        self.mean = nn.Buffer(space.mean, persistent=False)
        self.basis = nn.Buffer(space.basis, persistent=False)

    @property
    def space(self) -> Eigenspace:
        return Eigenspace(self.mean, self.basis)

    def disturbed(self, images: Images, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Gray faces (N, D) in [-1, 1], attacked or noisy."""
        raise NotImplementedError

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> Logged:
        exactly = torch.autocast(images.device.type, enabled=False)  # a bit of the sparsity is a few 1e-4 of a cosine
        with exactly:
            attacked = self.disturbed(images, rows, generator)
        logits = self.network(attacked.reshape(-1, 1, *images.shape[2:])).float()
        with exactly:
            return self._judged(logits, images, attacked, generator)

    def _judged(self, logits: Tensor, images: Images, attacked: Tensor, generator: torch.Generator) -> Logged:
        """What masks of ``logits`` cost, in full precision."""
        faces = gray(images)
        with torch.no_grad():
            anchor = self.recognizer.embed(colour(faces, images))
        masks = draw_masks(logits, self.cost.draws, generator)  # (B, K, N)
        coefficients = self.space.coefficients(attacked)[:, None]
        if self.cost.estimator == "straight_through":
            keep = logits.sigmoid()[:, None]
            gated = ThroughMask()(coefficients, keep, masks)
            costs, likeness = self._costs(gated, masks + keep - keep.detach(), faces, anchor, images)
            loss = costs.mean()
        else:
            with torch.no_grad():
                costs, likeness = self._costs(coefficients * masks, masks, faces, anchor, images)
            loss = score_function_loss(logits, masks, costs, "image")
        return loss, {"cost": costs.mean(), "cosine": likeness.mean(), **self._figures(logits.detach().sigmoid())}

    def _costs(
        self, gated: Tensor, bits: Tensor, faces: Tensor, anchor: Tensor, images: Images
    ) -> tuple[Tensor, Tensor]:
        """Cost and cosine, (B, K) each, of the faces that ``gated`` coefficients (B, K, N) give."""
        count, draws = gated.shape[:2]
        purified_faces = self.space.faces(gated)
        error = (purified_faces - faces[:, None]).square().mean(dim=2)
        embeddings = self.recognizer.embed(colour(purified_faces.flatten(0, 1), images))
        likeness = cosine(embeddings, anchor.repeat_interleave(draws, dim=0)).reshape(count, draws)
        return error + self.cost.sparsity * bits.sum(dim=2) + self.cost.identity_loss * (1 - likeness), likeness

    def _figures(self, keep: Tensor) -> Mapping[str, Tensor]:
        """What the authors log, and whether memory and choice are alive (spec 4.1 and 4.2)."""
        chosen = (keep > 0.5).float()
        count = len(keep)
        often = chosen.mean(dim=0)
        figures = {
            "sparsity": chosen.sum(dim=1).mean(),
            "specificity": (2 * often * (1 - often)).sum() * count / (count - 1),  # mean Hamming distance of two masks
            "mutation": (keep - 0.5).abs().mean(),
            "spread": keep.std(dim=0).mean(),
        }
        memory = self.network.memory
        return figures if memory is None else {**figures, "live_items": memory.live()}

    def stepped(self, steps: int) -> None:
        pass


class _Warming(_Selecting):
    """Gaussian noise of an absolute strength."""

    def __init__(self, *parts: object, strength: float) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.strength = strength

    def disturbed(self, images: Images, rows: Tensor, generator: torch.Generator) -> Tensor:
        faces = gray(images)
        return faces + self.strength * torch.randn(faces.shape, generator=generator, device=faces.device)


class _Rehearsing(_Selecting):
    """An attack on the average of earlier selves, which learns from the present one every ``lag`` steps.

    per_epoch: steps of an epoch.
    """

    def __init__(self, *parts: object, recipe: Rehearsal, artifact: Fitted, per_epoch: int) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.recipe, self.artifact, self.per_epoch = recipe, artifact, per_epoch
        self.budget = (Linf if recipe.clamped else Unclamped)(recipe.radius)
        average = get_ema_multi_avg_fn(recipe.memory_of_average)
        self.average = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True).requires_grad_(False)
        self.average.update_parameters(self.network)
        self.clock = nn.Buffer(torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> _Rehearsing:
        super().train(mode)
        self.average.train(mode and self.recipe.attacked_in == "train")
        return self

    def disturbed(self, images: Images, rows: Tensor, generator: torch.Generator) -> Tensor:
        chooser = Selected(self.artifact, self.average, self.space)
        verifier = purified(CosineVerifier(self.recognizer), chooser, "probe")
        anchors = colour(gray(images), images)
        index = torch.arange(len(rows), device=rows.device)
        pairs = PairBatch(images, anchors, anchors, index >= 0, torch.zeros_like(index), index)
        never = torch.full((len(rows),), -1.0, device=rows.device)  # a threshold that nothing passes
        view = View(verifier, never, seed=int(self.clock))
        return gray(self.recipe.attack(view, pairs, Dodging(), self.budget).images)

    def stepped(self, steps: int) -> None:
        self.clock.fill_(steps)
        place = steps if self.recipe.lag_within == "training" else (steps - 1) % self.per_epoch
        if place and place % self.recipe.lag == 0:
            self.average.update_parameters(self.network)


def _fitted(learner: _Selecting, space: Eigenspace, schedule: Schedule, context: FitContext, title: str) -> Artifact:
    history = train(learner, schedule, context, title)
    basis = {"mean": space.mean, "basis": space.basis}
    return basis | named("network", learner.network.state_dict()) | named("history", history)


def _recognizer(context: FitContext) -> Recognizer:
    assert context.recognizer is not None, "the recipe says that it needs one"
    if not context.recognizer.differentiable:
        raise ConfigError(f"AIS is fitted through a recognizer's gradients and {context.recognizer.name} has none")
    return context.recognizer


@dataclass(frozen=True)
class WarmUp:
    """The first phase: every face with Gaussian noise of the absolute ``noise``, in [-1, 1] (0.04)."""

    identity = "recipe.ais_warmup"
    version = 1

    antibody: Antibody
    cost: AisCost
    schedule: Schedule
    noise: NonNegative = 0.04

    needs_recognizer = True

    def network(self) -> AisNetwork:
        return self.antibody.network()

    def fit(self, context: FitContext) -> Artifact:
        """Raises FrbenchError: the recognizer has no gradients."""
        recognizer = _recognizer(context)
        space = Eigenspace.of(context.part(Eigenfaces(self.antibody.components)), context.device)
        torch.manual_seed(context.seed)
        learner = _Warming(self.network(), space, self.cost, recognizer, strength=self.noise)
        return _fitted(learner, space, self.schedule, context, "warm-up")


@dataclass(frozen=True)
class Rehearsal:
    """The second phase, from the weights of ``warmup``: faces attacked on the average of earlier selves.

    attack: against genuine pairs of a face and its own gray photo, within ``radius`` in [0, 1] (5.1/255: a step of 0.04
    in [-1, 1]). Every ``lag`` steps (20,000) the average keeps ``memory_of_average`` (0.9) of itself.
    lag_within: steps are counted through the whole ``training``, or anew in each ``epoch`` (published), where the first
    step is number 0: an epoch of no more than ``lag`` steps then leaves the average as it is.
    attacked_in: ``train`` mode, in which the authors leave the average, mixes the images of a batch; ``eval`` does not.
    clamped: attacked images are kept within [0, 1]; theirs are not.
    """

    identity = "recipe.ais_adversarial_phase"
    version = 1

    warmup: WarmUp
    attack: Attack
    schedule: Schedule
    radius: PixelChange = 0.02
    lag: PositiveInt = 20000
    memory_of_average: Fraction = 0.9
    attacked_in: Literal["eval", "train"] = "eval"
    lag_within: Literal["training", "epoch"] = "training"
    clamped: bool = True

    needs_recognizer = True

    def network(self) -> AisNetwork:
        return self.warmup.network()

    def fit(self, context: FitContext) -> Artifact:
        """Raises FrbenchError: the recognizer has no gradients."""
        recognizer, before = _recognizer(context), context.part(self.warmup)
        space = Eigenspace.of(before, context.device)
        network = self.network().to(context.device)
        network.load_state_dict(under(before, "network"))
        own = Fitted("in the making", "", before)
        per_epoch = self.schedule.per_epoch(len(context.faces.images))
        parts = (network, space, self.warmup.cost, recognizer)
        learner = _Rehearsing(*parts, recipe=self, artifact=own, per_epoch=per_epoch)
        return _fitted(learner, space, self.schedule, context, "rehearsal")
