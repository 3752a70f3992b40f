"""The interfaces of what the training loop trains, and its schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from frbench.harness.core.domains import BelowOne, NonNegative, NonNegativeInt, Positive, PositiveInt
from frbench.harness.core.face_data import Images

LossAndMetrics = tuple[Tensor, Mapping[str, Tensor]]  # the loss to minimize, and metrics to log by name


class Learner(Protocol):
    """A module to train.

    ``loss`` takes a batch (N, 3, H, W) in [0, 1] and draws all its randomness from the generator. ``after_step`` is
    called after each optimizer step, with the number of steps so far.
    """

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> LossAndMetrics: ...

    def after_step(self, steps: int) -> None: ...


@runtime_checkable
class Validated(Protocol):
    """A learner with validation data, evaluated after each epoch; training keeps the weights of the best epoch.

    ``validation_metrics`` is called in evaluation mode without gradients. Its first metric decides: lower is better.
    """

    def validation_metrics(self) -> Mapping[str, Tensor]: ...


@runtime_checkable
class Monitored(Protocol):
    """A learner with metrics to log after every ``val_every_n_epochs`` epochs and the last; they decide nothing.

    ``monitored_metrics`` is called in evaluation mode without gradients.
    """

    val_every_n_epochs: int

    def monitored_metrics(self) -> Mapping[str, Tensor]: ...


@runtime_checkable
class HasParameterGroups(Protocol):
    """A learner whose gradient norm is clipped for each group of parameters, so that members train independently."""

    def parameter_groups(self) -> Sequence[Sequence[nn.Parameter]]: ...


@dataclass(frozen=True)
class Schedule:
    """Optimizer, learning rate and stopping of a training run.

    Args:
        epochs: Passes over all faces; the last incomplete step of each is left out. 0 trains nothing.
        batch_size: Faces of one forward pass.
        lr: Initial learning rate.
        optimizer: SGD with ``momentum``, or Adam (AdamW where ``weight_decay`` is not 0).
        lr_scheduler: ``step`` multiplies the rate by ``lr_gamma`` after every ``lr_step_size`` epochs; for a
            learner with a validation loss, after every ``lr_step_size`` epochs without a lower one. ``polynomial``,
            (1 - t) ** ``power``, and ``cosine`` fall to zero over the share t of all steps.
        precision: ``mixed`` runs forward passes in bfloat16 autocast; weights stay in float32.
        grad_clip_norm: Largest gradient norm of all weights, or of each parameter group of the learner. None: no limit.
        patience: Epochs without a lower validation loss after which training stops. None: never.
        weight_decay: Not applied to parameters of one dimension (biases, batch normalization).
        gradient_accumulation_steps: Batches whose mean gradient makes one step. Several processes share them, so it
            is a multiple of their number; only batch normalization statistics depend on how many there are.
    """

    identity = "training.schedule"
    version = 1

    epochs: NonNegativeInt
    batch_size: PositiveInt
    lr: NonNegative
    optimizer: Literal["sgd", "adam"] = "sgd"
    momentum: BelowOne = 0.9
    lr_gamma: Positive = 1.0
    lr_step_size: PositiveInt = 1
    precision: Literal["full", "mixed"] = "full"
    grad_clip_norm: Positive | None = None
    patience: PositiveInt | None = None
    lr_scheduler: Literal["step", "polynomial", "cosine"] = "step"
    power: NonNegative = 2.0
    weight_decay: NonNegative = 0.0
    gradient_accumulation_steps: PositiveInt = 1

    def per_epoch(self, faces: int) -> int:
        """Optimizer steps in an epoch over ``faces`` faces."""
        return faces // (self.batch_size * self.gradient_accumulation_steps)

    def lr_factor(self, done: float) -> float:
        """The learning rate as a share of ``lr``, after the share ``done`` of all steps; 1 for ``step``."""
        if self.lr_scheduler == "polynomial":
            return float((1 - done) ** self.power)
        return (1 + math.cos(math.pi * done)) / 2 if self.lr_scheduler == "cosine" else 1.0

    def make_optimizer(self, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of ``weights``."""
        groups: list[dict[str, Any]] = [{"params": weights}]
        if self.weight_decay:
            many = [each for each in weights if each.ndim > 1]
            few = [each for each in weights if each.ndim <= 1]
            groups = [{"params": many, "weight_decay": self.weight_decay}, {"params": few, "weight_decay": 0.0}]
        if self.optimizer == "sgd":
            return torch.optim.SGD(groups, self.lr, momentum=self.momentum)
        return (torch.optim.AdamW if self.weight_decay else torch.optim.Adam)(groups, self.lr)
