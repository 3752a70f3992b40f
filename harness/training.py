"""The training loop: epochs over faces, progress, mixed precision, early stopping, and a state that a killed run goes
on from, exactly.

What is drawn (order, noise) is a function of (seed, step) alone. On a CPU a resumed run gives the same bits.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from frbench.harness.contracts import FitContext
from frbench.harness.errors import FrbenchError
from frbench.harness.faces import Images
from frbench.harness.progress import count_bar


class Learner(Protocol):
    """A module to train. ``loss`` of a batch (N, 3, H, W), in [0, 1]: what to descend, and figures to log by name.

    All randomness of ``loss`` comes from the generator. ``stepped`` is called after each step of the optimiser, with
    the number of steps taken.
    """

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]: ...

    def stepped(self, steps: int) -> None: ...


@runtime_checkable
class Examined(Protocol):
    """A learner that knows faces that it is not trained on: after each epoch it says how badly it does on them.

    ``examination`` is called in evaluation mode and without gradients. The first figure is what counts. The weights of
    the best epoch are kept.
    """

    def examination(self) -> Mapping[str, Tensor]: ...


@dataclass(frozen=True)
class Schedule:
    """epochs over all faces in batches (the last incomplete one is left out).

    optimizer: SGD with ``momentum``, or Adam. rate: multiplied by ``decay`` after every ``decay_epochs`` epochs; where
    the learner is examined, after every ``decay_epochs`` epochs without a better examination.
    precision: ``mixed`` runs forwards in bfloat16 where matrices allow; weights stay in float32.
    clip: the greatest norm of a gradient over all weights. patience: an examined learner stops after so many epochs
    without a better examination. None for neither.
    """

    epochs: int
    batch: int
    rate: float
    optimizer: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.9
    decay: float = 1.0
    decay_epochs: int = 1
    precision: Literal["full", "mixed"] = "full"
    clip: float | None = None
    patience: int | None = None


_KEEP_SECONDS = 60.0  # how much work a killed run loses at most, beside one step
_PLAIN = ("steps", "epoch", "history", "sums", "best", "lowest", "idle")  # what is kept beside network and optimiser


def train(learner: nn.Module, schedule: Schedule, context: FitContext, title: str) -> dict[str, Tensor]:
    """Train ``learner`` (a ``Learner``) in place; the logged figures of each epoch, (epochs,) by name.

    An ``Examined`` one ends with the weights of its best epoch.
    Raises FrbenchError: fewer faces than a batch; a loss that is not finite.
    """
    run = _Run(learner.to(context.device).train(), schedule, context)
    run.resume()
    with count_bar(title, "images") as report:
        while run.epoch < schedule.epochs and not run.out_of_patience:
            for rows in run.batches(run.epoch):
                run.step(rows)
                report(run.steps * schedule.batch, schedule.epochs * run.per_epoch * schedule.batch)
            run.close()
    if run.best is not None:
        learner.load_state_dict(run.best)
    learner.eval()
    return {name: torch.tensor([each[name] for each in run.history]) for name in run.history[0]} if run.history else {}


class _Run:
    """What changes while training."""

    def __init__(self, learner: Any, schedule: Schedule, context: FitContext) -> None:
        self.learner, self.schedule, self.context = learner, schedule, context
        self.per_epoch = len(context.faces.images) // schedule.batch
        if self.per_epoch == 0:
            count = len(context.faces.images)
            raise FrbenchError(f"batch={schedule.batch} is more than the {count} faces of {context.faces.name}")
        self.weights = [each for each in learner.parameters() if each.requires_grad]
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.SGD(self.weights, schedule.rate, momentum=schedule.momentum)
            if schedule.optimizer == "sgd"
            else torch.optim.Adam(self.weights, schedule.rate)
        )
        self.steps, self.epoch = 0, 0
        self.history: list[dict[str, float]] = []
        self.sums: dict[str, Tensor] = {}
        self.best: dict[str, Tensor] | None = None
        self.lowest, self.idle = math.inf, 0  # the best examination, and how many epochs ago it was
        self._kept = time.monotonic()

    def batches(self, epoch: int) -> Iterator[np.ndarray]:
        """The rows of the batches of ``epoch`` that are still to come."""
        order = np.random.default_rng((self.context.seed, epoch)).permutation(len(self.context.faces.images))
        for number in range(self.steps - epoch * self.per_epoch, self.per_epoch):
            yield np.sort(order[number * self.schedule.batch : (number + 1) * self.schedule.batch])

    def step(self, rows: np.ndarray) -> None:
        images = self.context.faces.load(rows, self.context.device)
        generator = torch.Generator(self.context.device).manual_seed(self._chance())
        with self._precision():
            loss, figures = self.learner.loss(images, torch.from_numpy(rows).to(self.context.device), generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.schedule.clip is not None:
            nn.utils.clip_grad_norm_(self.weights, self.schedule.clip)
        self.optimizer.step()
        self.steps += 1
        self.learner.stepped(self.steps)
        for name, figure in {"loss": loss, **figures}.items():
            self.sums[name] = self.sums.get(name, 0) + figure.detach().double()
        if time.monotonic() - self._kept > _KEEP_SECONDS:
            self._check_finite()
            self._keep()

    def _chance(self) -> int:
        """A seed for this step. Hashed, because a generator on the CPU looks at the lowest 32 bits alone."""
        return int(np.random.SeedSequence((self.context.seed, self.steps)).generate_state(1, np.uint64)[0])

    @property
    def out_of_patience(self) -> bool:
        return self.schedule.patience is not None and self.idle >= self.schedule.patience

    def close(self) -> None:
        """The end of an epoch."""
        self._check_finite()
        self.history.append({name: float(total) / self.per_epoch for name, total in self.sums.items()})
        self.sums, self.epoch = {}, self.epoch + 1
        examined = isinstance(self.learner, Examined)
        if examined:
            self._examine()
        waited = self.idle if examined else self.epoch
        if waited and waited % self.schedule.decay_epochs == 0:
            for group in self.optimizer.param_groups:
                group["lr"] *= self.schedule.decay
        self._keep()

    @torch.no_grad()
    def _examine(self) -> None:
        self.learner.eval()
        with self._precision():
            figures = {name: float(each) for name, each in self.learner.examination().items()}
        self.learner.train()
        self.history[-1] |= figures
        self.idle += 1
        if (found := next(iter(figures.values()))) < self.lowest:
            self.lowest, self.idle = found, 0
            self.best = {name: each.detach().clone() for name, each in self.learner.state_dict().items()}

    def resume(self) -> None:
        path = self.context.unfinished
        if not path.exists():
            return
        state = torch.load(path, map_location=self.context.device, weights_only=True)
        self.learner.load_state_dict(state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name in _PLAIN:
            setattr(self, name, state[name])

    def _keep(self) -> None:
        path = self.context.unfinished
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(f"{path}.{os.getpid()}")
        state = {"learner": self.learner.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(state | {name: getattr(self, name) for name in _PLAIN}, temporary)
        temporary.replace(path)
        self._kept = time.monotonic()

    def _check_finite(self) -> None:
        """Weights too: where a finite loss has a gradient that is not, only the next loss would show it."""
        numbers = [self.sums["loss"], *(each.detach() for each in self.learner.parameters())]
        if not bool(torch.stack([torch.isfinite(each).all() for each in numbers]).all()):
            raise FrbenchError(
                f"the loss or a weight is not finite in epoch {self.epoch + 1} (step {self.steps}); the last good "
                f"state is kept in {self.context.unfinished.name}; take a lower rate than {self.schedule.rate}"
            )

    def _precision(self) -> AbstractContextManager[Any]:
        if self.schedule.precision == "full":
            return nullcontext()
        return torch.autocast(self.context.device.type, dtype=torch.bfloat16)
