"""AIS, Artificial Immune System (Ren et al., IJCV 2024): masked eigenface projection, trained adversarially on itself.

Method and constants follow the authors' code (RenMin1991/SIDE at 95831a1). Training has two phases: a warm-up on
Gaussian noise, then an adversarial phase on faces attacked through an exponential moving average (EMA) of the selector.
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
        items: items of the memory; 0 removes it.
        update: update of the memory: ``reference`` decays unused items, as in the authors' code; ``hit_only`` does not.
        start: initial keep probability (published: 0.5). With confident masks the recognizer recognises the purified
            faces from the first step.
        leading: number of leading eigenfaces with probability ``start``; the others have ``1 - start``. None is all.
        initial: initial weights of the encoder, ``he`` (He et al., 2015) or ``torch`` (PyTorch's own, published).
    """

    identity = "recipe.ais_selector"
    version = 1

    components: Components
    width: PositiveInt
    hidden: PositiveInt
    items: PositiveInt = 128
    update: Literal["reference", "hit_only"] = "hit_only"
    start: OpenFraction = 0.997
    leading: PositiveInt | None = None
    initial: Initial = "he"

    def check_combination(self, where: str) -> None:
        if self.leading is not None and self.leading > self.components:
            raise ConfigError(
                f"{where}.leading={self.leading} is above {where}.components={self.components}; set {where}.leading to "
                f"at most {self.components} or null"
            )

    def network(self) -> AisNetwork:
        network = AisNetwork(self.width, self.hidden, self.components, self.items, self.update, initial=self.initial)
        last = network.generator[-1]
        assert isinstance(last, nn.BatchNorm1d)
        with torch.no_grad():
            last.bias.fill_(-math.log(self.start / (1 - self.start)))
            last.bias[: self.leading] *= -1
        return network


@dataclass(frozen=True)
class WarmUp:
    """First phase of AIS: training on faces with Gaussian noise.

    Attributes:
        antibody: the selector network.
        cost: cost of a mask.
        schedule: training schedule.
        noise: standard deviation of the noise on faces in [-1, 1] (published: 0.04).
    """

    identity = "recipe.ais_warmup"
    version = 1

    antibody: SelectorConfig
    cost: AisCost
    schedule: Schedule
    noise: NonNegative = 0.04

    needs_recognizer = True

    def network(self) -> AisNetwork:
        return self.antibody.network()

    def fit(self, context: FitContext) -> Artifact:
        """Train the selector.

        Raises:
            ConfigError: the recognizer has no gradients.
        """
        recognizer = _differentiable_recognizer(context)
        space = Eigenspace.of(context.part(Eigenfaces(self.antibody.components)), context.device)
        torch.manual_seed(context.seed)
        learner = NoiseLearner(self.network(), space, self.cost, recognizer, strength=self.noise)
        return _train(learner, space, self.schedule, context, "warm-up")


class AdversarialLearner(SelectorLearner):
    """The adversarial phase: faces attacked through an EMA of the selector, updated every ``lag`` steps.

    Args:
        parts: arguments of ``SelectorLearner``.
        recipe: the adversarial phase.
        artifact: identity of the attacked purifier.
        per_epoch: steps of an epoch.
    """

    def __init__(self, *parts: object, recipe: AdversarialPhase, artifact: Fitted, per_epoch: int) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.recipe, self.artifact, self.per_epoch = recipe, artifact, per_epoch
        self.budget = (Linf if recipe.clamped else Unclamped)(recipe.radius)
        average = get_ema_multi_avg_fn(recipe.memory_of_average)
        self.average = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True).requires_grad_(False)
        self.average.update_parameters(self.network)
        self.clock = nn.Buffer(torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> AdversarialLearner:
        super().train(mode)
        self.average.train(mode and self.recipe.attacked_in == "train")
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

    def stepped(self, steps: int) -> None:
        self.clock.fill_(steps)
        step = steps if self.recipe.lag_within == "training" else (steps - 1) % self.per_epoch
        if step and step % self.recipe.lag == 0:
            self.average.update_parameters(self.network)


@dataclass(frozen=True)
class AdversarialPhase:
    """Second phase of AIS: adversarial training from the weights of the warm-up.

    Attributes:
        warmup: the first phase.
        attack: attack on genuine pairs of a face and its gray version.
        schedule: training schedule.
        radius: L-inf radius on images in [0, 1]; the published step of 0.04 in [-1, 1] is 0.02.
        lag: steps between updates of the EMA (published: 20,000).
        memory_of_average: decay of the EMA (published: 0.9).
        attacked_in: mode of the EMA during the attack. ``train``, as in the authors' code, normalises by batch
            statistics, so that the images of a batch influence each other.
        lag_within: count steps through the ``training``, or from 0 in each ``epoch`` (published), where epochs of at
            most ``lag`` steps never update the EMA.
        clamped: whether attacked images are clipped to [0, 1] (published: no).
    """

    identity = "recipe.ais_adversarial_phase"
    version = 1

    warmup: WarmUp
    attack: Attack
    schedule: Schedule
    radius: PixelChange = 0.02
    lag: PositiveInt = 50
    memory_of_average: Fraction = 0.9
    attacked_in: Literal["eval", "train"] = "eval"
    lag_within: Literal["training", "epoch"] = "training"
    clamped: bool = True

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
