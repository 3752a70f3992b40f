"""What can be trained, and by what schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from frbench.harness.core.domains import BelowOne, NonNegative, NonNegativeInt, Positive, PositiveInt
from frbench.harness.core.face_data import Images

Told = tuple[Tensor, Mapping[str, Tensor]]  # a loss, and figures to log by name


class Learner(Protocol):
    """A module to train. ``loss`` of a batch (N, 3, H, W), in [0, 1]: what to descend, and figures to log by name.

    All randomness of ``loss`` comes from the generator. ``stepped`` is called after each step of the optimiser, with
    the number of steps taken.
    """

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> Told: ...

    def stepped(self, steps: int) -> None: ...


@runtime_checkable
class Examined(Protocol):
    """A learner that knows faces that it is not trained on: after each epoch it says how badly it does on them.

    ``examination`` is called in evaluation mode and without gradients. The first figure is what counts. The weights of
    the best epoch are kept.
    """

    def examination(self) -> Mapping[str, Tensor]: ...


@runtime_checkable
class Observed(Protocol):
    """A learner that is looked at after each ``every`` epochs and after the last: logged, and nothing is chosen by it.

    ``observation`` is called in evaluation mode and without gradients.
    """

    every: int

    def observation(self) -> Mapping[str, Tensor]: ...


@runtime_checkable
class Parted(Protocol):
    """A learner whose gradient is shortened part by part: what learns side by side learns as if it were alone."""

    def parts(self) -> Sequence[Sequence[nn.Parameter]]: ...


@dataclass(frozen=True)
class Schedule:
    """epochs over all faces in batches (the last incomplete step is left out); 0 epochs train nothing.

    optimizer: SGD with ``momentum``, or Adam. curve of the rate: ``steps`` multiplies it by ``decay`` after every
    ``decay_epochs`` epochs (where the learner is examined, after every ``decay_epochs`` epochs without a better
    examination); ``polynomial`` (1 - t) ** ``power`` and ``cosine`` go to zero, by the share t of the steps taken.
    precision: ``mixed`` runs forwards in bfloat16 where matrices allow; weights stay in float32.
    clip: the greatest norm of a gradient over all weights, or those of a part (``Parted``). patience: an examined
    learner stops after so many epochs without a better examination. None for neither. weight_decay: not of parameters
    of one dimension; Adam with it is AdamW, which takes it apart from the gradient.
    accumulate: batches whose mean gradient makes a step; several processes share them, so it is a multiple of their
    number, and how many there are changes no result but the statistics of batch normalisation.
    """

    identity = "training.schedule"
    version = 1

    epochs: NonNegativeInt
    batch: PositiveInt
    rate: NonNegative
    optimizer: Literal["sgd", "adam"] = "sgd"
    momentum: BelowOne = 0.9
    decay: Positive = 1.0
    decay_epochs: PositiveInt = 1
    precision: Literal["full", "mixed"] = "full"
    clip: Positive | None = None
    patience: PositiveInt | None = None
    curve: Literal["steps", "polynomial", "cosine"] = "steps"
    power: NonNegative = 2.0
    weight_decay: NonNegative = 0.0
    accumulate: PositiveInt = 1

    def per_epoch(self, faces: int) -> int:
        """Steps of the optimiser in an epoch over so many ``faces``."""
        return faces // (self.batch * self.accumulate)

    def share(self, done: float) -> float:
        """Of ``rate``, when ``done`` of all steps have been taken, in [0, 1]. ``steps`` goes by epochs instead."""
        if self.curve == "polynomial":
            return float((1 - done) ** self.power)
        return (1 + math.cos(math.pi * done)) / 2 if self.curve == "cosine" else 1.0

    def over(self, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser of ``weights``."""
        groups: list[dict[str, Any]] = [{"params": weights}]
        if self.weight_decay:
            many = [each for each in weights if each.ndim > 1]
            few = [each for each in weights if each.ndim <= 1]
            groups = [{"params": many, "weight_decay": self.weight_decay}, {"params": few, "weight_decay": 0.0}]
        if self.optimizer == "sgd":
            return torch.optim.SGD(groups, self.rate, momentum=self.momentum)
        return (torch.optim.AdamW if self.weight_decay else torch.optim.Adam)(groups, self.rate)
