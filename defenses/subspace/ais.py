"""AIS, Artificial Immune System (Ren et al., IJCV 2024): masked eigenface projection, trained adversarially on itself.

Method and constants follow the authors' code (RenMin1991/SIDE at 95831a1). Training has two phases: a warm-up on
Gaussian noise, then an adversarial phase on faces attacked through an exponential moving average (EMA) of the selector.

The method: docs/methods/subspace_projections.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from frbench.defenses.components.artifact_tensors import trained_artifact, without_prefix
from frbench.defenses.components.unclamped_budget import Unclamped
from frbench.defenses.subspace.ais_learner import AisCost, NoiseLearner, SelectorLearner
from frbench.defenses.subspace.ais_network import AisNetwork
from frbench.defenses.subspace.eigenfaces import Eigenfaces, Eigenspace, gray, to_rgb
from frbench.defenses.subspace.masked_projection import MaskedProjection, SelectionDefense
from frbench.defenses.subspace.networks import Initial
from frbench.harness.core.contracts import Artifact, Attack, FitContext, Fitted, Recognizer, View
from frbench.harness.core.domains import Components, Fraction, NonNegative, OpenFraction, PixelChange, PositiveInt
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import Images, PairBatch
from frbench.harness.core.verifiers import CosineVerifier, purified
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.goals import Dodging
from frbench.harness.training.loop import Schedule, train


@dataclass(frozen=True)
class SelectorConfig:
    """Size and initialisation of the selector network.

    Attributes:
        components: number of eigenfaces to select from (published: 1,500).
        width: channels of the encoder's first stage (published: 64).
        hidden: dimension of the features (published: 512).
        memory_items: items of the memory; 0 removes it.
        memory_update: update of the memory: ``reference`` decays unused items, as in the authors' code; ``hit_only``
            does not.
        initial_keep: initial keep probability (published: 0.5). With confident masks the recognizer recognises the
            purified faces from the first step.
        initial_leading: number of leading eigenfaces with probability ``initial_keep``; the others have
            ``1 - initial_keep``. None is all.
        weight_init: initial weights of the encoder, ``he`` (He et al., 2015) or ``torch`` (PyTorch's own, published).
    """

    identity = "recipe.ais_selector"
    version = 1

    components: Components
    width: PositiveInt
    hidden: PositiveInt
    memory_items: PositiveInt = 128
    memory_update: Literal["reference", "hit_only"] = "hit_only"
    initial_keep: OpenFraction = 0.997
    initial_leading: PositiveInt | None = None
    weight_init: Initial = "he"

    def check_combination(self, where: str) -> None:
        if self.initial_leading is not None and self.initial_leading > self.components:
            raise ConfigError(
                f"{where}.initial_leading={self.initial_leading} is above {where}.components={self.components}; "
                f"set it to at most {self.components} or null"
            )

    def network(self) -> AisNetwork:
        network = AisNetwork(
            self.width,
            self.hidden,
            self.components,
            self.memory_items,
            self.memory_update,
            initial=self.weight_init,
        )
        last = network.generator[-1]
        assert isinstance(last, nn.BatchNorm1d)
        with torch.no_grad():
            last.bias.fill_(-math.log(self.initial_keep / (1 - self.initial_keep)))
            last.bias[: self.initial_leading] *= -1
        return network


@dataclass(frozen=True)
class WarmUp:
    """First phase of AIS: training on faces with Gaussian noise.

    Attributes:
        selector: the selector network.
        cost: cost of a mask.
        schedule: training schedule.
        noise: standard deviation of the noise on faces in [-1, 1] (published: 0.04).
    """

    identity = "recipe.ais_warmup"
    version = 1

    selector: SelectorConfig
    cost: AisCost
    schedule: Schedule
    noise: NonNegative = 0.04

    needs_recognizer = True

    def network(self) -> AisNetwork:
        return self.selector.network()

    def fit(self, context: FitContext) -> Artifact:
        """Train the selector.

        Raises:
            ConfigError: the recognizer has no gradients.
        """
        recognizer = _differentiable_recognizer(context)
        space = Eigenspace.of(context.part(Eigenfaces(self.selector.components)), context.device)
        torch.manual_seed(context.seed)
        learner = NoiseLearner(self.network(), space, self.cost, recognizer, strength=self.noise)
        return _train(learner, space, self.schedule, context, "warm-up")


class AdversarialLearner(SelectorLearner):
    """The adversarial phase: faces attacked through an EMA of the selector, updated every ``ema_update_every`` steps.

    Args:
        parts: arguments of ``SelectorLearner``.
        recipe: the adversarial phase.
        artifact: identity of the attacked purifier.
        per_epoch: steps of an epoch.
    """

    def __init__(self, *parts: object, recipe: AdversarialPhase, artifact: Fitted, per_epoch: int) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.recipe, self.artifact, self.per_epoch = recipe, artifact, per_epoch
        self.budget = (Linf if recipe.clip_attacked else Unclamped)(recipe.radius)
        average = get_ema_multi_avg_fn(recipe.ema_decay)
        self.average = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True).requires_grad_(False)
        self.average.update_parameters(self.network)
        self.clock = nn.Buffer(torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> AdversarialLearner:
        super().train(mode)
        self.average.train(mode and self.recipe.attack_bn_mode == "train")
        return self

    def perturb(self, images: Images, rows: Tensor, generator: torch.Generator) -> Tensor:
        purifier = MaskedProjection(self.artifact, self.average, self.space)
        verifier = purified(CosineVerifier(self.recognizer), purifier, "probe")
        anchors = to_rgb(gray(images), images)
        index = torch.arange(len(rows), device=rows.device)
        pairs = PairBatch(images, anchors, anchors, index >= 0, torch.zeros_like(index), index)
        unreachable = torch.full((len(rows),), -1.0, device=rows.device)  # the attack never stops at success
        view = View(verifier, unreachable, seed=int(self.clock))
        return gray(self.recipe.attack(view, pairs, Dodging(), self.budget).images)

    def after_step(self, steps: int) -> None:
        self.clock.fill_(steps)
        step = steps if self.recipe.ema_counter_scope == "training" else (steps - 1) % self.per_epoch
        if step and step % self.recipe.ema_update_every == 0:
            self.average.update_parameters(self.network)


@dataclass(frozen=True)
class AdversarialPhase:
    """Second phase of AIS: adversarial training from the weights of the warm-up.

    Attributes:
        warmup: the first phase.
        attack: attack on genuine pairs of a face and its gray version.
        schedule: training schedule.
        radius: L-inf radius on images in [0, 1]; the published step of 0.04 in [-1, 1] is 0.02.
        ema_update_every: steps between updates of the EMA (published: 20,000).
        ema_decay: decay of the EMA (published: 0.9).
        attack_bn_mode: mode of the EMA during the attack. ``train``, as in the authors' code, normalises by batch
            statistics, so that the images of a batch influence each other.
        ema_counter_scope: count steps through the ``training``, or from 0 in each ``epoch`` (published), where epochs
            of at most ``ema_update_every`` steps never update the EMA.
        clip_attacked: whether attacked images are clipped to [0, 1] (published: no).
    """

    identity = "recipe.ais_adversarial_phase"
    version = 1

    warmup: WarmUp
    attack: Attack
    schedule: Schedule
    radius: PixelChange = 0.02
    ema_update_every: PositiveInt = 50
    ema_decay: Fraction = 0.9
    attack_bn_mode: Literal["eval", "train"] = "eval"
    ema_counter_scope: Literal["training", "epoch"] = "training"
    clip_attacked: bool = True

    needs_recognizer = True

    def network(self) -> AisNetwork:
        return self.warmup.network()

    def fit(self, context: FitContext) -> Artifact:
        """Train the selector.

        Raises:
            ConfigError: the recognizer has no gradients.
        """
        recognizer, before = _differentiable_recognizer(context), context.part(self.warmup)
        space = Eigenspace.of(before, context.device)
        network = self.network().to(context.device)
        network.load_state_dict(without_prefix(before, "network"))
        unfinished = Fitted("in training", "", before)
        per_epoch = self.schedule.per_epoch(len(context.faces.images))
        parts = (network, space, self.warmup.cost, recognizer)
        learner = AdversarialLearner(*parts, recipe=self, artifact=unfinished, per_epoch=per_epoch)
        return _train(learner, space, self.schedule, context, "adversarial phase")


def _train(
    learner: SelectorLearner, space: Eigenspace, schedule: Schedule, context: FitContext, title: str
) -> Artifact:
    history = train(learner, schedule, context, title)
    return {"mean": space.mean, "basis": space.basis} | trained_artifact(learner.network, history)


def _differentiable_recognizer(context: FitContext) -> Recognizer:
    assert context.recognizer is not None, "needs_recognizer is true"
    if not context.recognizer.differentiable:
        raise ConfigError(
            f"AIS is trained through the recognizer and {context.recognizer.name} has no gradients; use a "
            "differentiable recognizer"
        )
    return context.recognizer


@dataclass(frozen=True)
class AisDefense(SelectionDefense):
    """AIS after both phases, or after the warm-up alone (ablation); fitted for one recognizer."""

    identity = "defense.ais"
    version = 1

    recipe: AdversarialPhase | WarmUp

    option: ClassVar[str] = "ais"
