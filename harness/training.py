"""The training loop: epochs over faces, progress, mixed precision, and a state that a killed run goes on from, exactly.

What is drawn (order, noise) is a function of (seed, step) alone. On a CPU a resumed run gives the same bits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

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


@dataclass(frozen=True)
class Schedule:
    """epochs over all faces in batches (the last incomplete one is left out).

    optimizer: SGD with ``momentum``, or Adam. rate: multiplied by ``decay`` after every ``decay_epochs`` epochs.
    precision: ``mixed`` runs forwards in bfloat16 where matrices allow; weights stay in float32.
    """

    epochs: int
    batch: int
    rate: float
    optimizer: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.9
    decay: float = 1.0
    decay_epochs: int = 1
    precision: Literal["full", "mixed"] = "full"


_KEEP_SECONDS = 60.0  # how much work a killed run loses at most, beside one step


def train(learner: nn.Module, schedule: Schedule, context: FitContext, title: str) -> dict[str, Tensor]:
    """Train ``learner`` (a ``Learner``) in place; the logged figures of each epoch, (epochs,) by name.

    Raises FrbenchError: fewer faces than a batch; a loss that is not finite.
    """
    run = _Run(learner.to(context.device).train(), schedule, context)
    run.resume()
    with count_bar(title, "images") as report:
        for epoch in range(run.epoch, schedule.epochs):
            for rows in run.batches(epoch):
                run.step(rows)
                report(run.steps * schedule.batch, schedule.epochs * run.per_epoch * schedule.batch)
            run.close(epoch)
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
        weights = [each for each in learner.parameters() if each.requires_grad]
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.SGD(weights, schedule.rate, momentum=schedule.momentum)
            if schedule.optimizer == "sgd"
            else torch.optim.Adam(weights, schedule.rate)
        )
        self.decay = torch.optim.lr_scheduler.StepLR(self.optimizer, schedule.decay_epochs, schedule.decay)
        self.steps, self.epoch = 0, 0
        self.history: list[dict[str, float]] = []
        self.sums: dict[str, Tensor] = {}
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

    def close(self, epoch: int) -> None:
        self._check_finite()
        self.history.append({name: float(total) / self.per_epoch for name, total in self.sums.items()})
        self.sums, self.epoch = {}, epoch + 1
        self.decay.step()
        self._keep()

    def resume(self) -> None:
        path = self.context.unfinished
        if not path.exists():
            return
        state = torch.load(path, map_location=self.context.device, weights_only=True)
        self.learner.load_state_dict(state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.decay.load_state_dict(state["decay"])
        self.steps, self.epoch = state["steps"], state["epoch"]
        self.history, self.sums = state["history"], state["sums"]

    def _keep(self) -> None:
        path = self.context.unfinished
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(f"{path}.{os.getpid()}")
        parts = ("learner", "optimizer", "decay")
        state = {name: getattr(self, name).state_dict() for name in parts}
        plain = {name: getattr(self, name) for name in ("steps", "epoch", "history", "sums")}
        torch.save({**state, **plain}, temporary)
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
