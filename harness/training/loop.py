"""The training loop: epochs over faces, several processes, early stopping, and checkpoints to resume from.

All randomness (order, noise) is a function of (seed, batch), however many processes share the work. On a CPU a resumed
run gives the same bits. After a signal (see ``runtime.interrupts``) the run ends its step, writes a checkpoint and
stops.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from frbench.harness.core.contracts import FitContext
from frbench.harness.core.face_data import Images
from frbench.harness.runtime import activity, distributed, interrupts
from frbench.harness.runtime.memory import keep_freed_memory
from frbench.harness.runtime.progress import count_bar
from frbench.harness.training.checkpoints import load_checkpoint, restore, save_checkpoint
from frbench.harness.training.learner import HasParameterGroups, Learner, LossAndMetrics, Monitored, Schedule, Validated

Drawn = tuple[int, np.ndarray]  # the number of a batch, from 0 on, and its rows
Loaded = tuple[int, np.ndarray, Images]


_CHECKPOINT_SECONDS = 60.0  # between checkpoints: the most work that a killed run loses, beside one step
_PLAIN = ("steps", "epoch", "history", "best", "lowest", "idle")  # in a checkpoint beside network, optimizer and sums


def train(learner: nn.Module, schedule: Schedule, context: FitContext, title: str) -> dict[str, Tensor]:
    """Train ``learner``, a ``Learner``, in place.

    A ``Validated`` learner ends with the weights of its best epoch. Several processes
    (``distributed.init_distributed``) end with the same weights.

    Args:
        learner: The module to train.
        schedule: Optimizer, learning rate and stopping.
        context: Faces, seed, device, and the checkpoint file to resume from.
        title: Title of the progress bar.

    Returns:
        The metrics of each epoch, (epochs,) by name; those of a ``Monitored`` learner, of the epochs that logged them.

    Raises:
        FrbenchError: A step needs more faces than there are, a loss or weight is not finite, or the checkpoint belongs
            to another network.
        Interrupted: After a signal; the checkpoint has every finished step.
    """
    keep_freed_memory()
    run = _Run(learner.to(context.device).train(), schedule, context)
    run.resume()
    run.connect()
    faces = schedule.batch_size * schedule.gradient_accumulation_steps
    bar = count_bar(title, "images") if distributed.is_main_process() else nullcontext(_silent)
    with interrupts.deferred(), bar as report:  # all processes stop after the same step
        while run.epoch < schedule.epochs and not run.out_of_patience:
            with closing(_prefetched(run.load, run.batches())) as batches:
                while run.steps < (run.epoch + 1) * run.per_epoch:
                    run.step(batches)
                    report(run.steps * faces, schedule.epochs * run.per_epoch * faces)
            run.close()
    if run.best is not None:
        learner.load_state_dict(run.best)
    learner.eval()
    names = dict.fromkeys(name for each in run.history for name in each)
    return {name: torch.tensor([each[name] for each in run.history if name in each]) for name in names}


def _silent(done: int, total: int | None) -> None:
    """Only the main process shows progress."""


def _prefetched(load: Callable[[Drawn], Loaded], batches: Iterator[Drawn]) -> Generator[Loaded]:
    """Each batch with its images, while a thread loads the next."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for batch in batches:
            coming = pool.submit(load, batch)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()


class _Losses(nn.Module):
    """A learner as a module whose forward is the loss, as ``DistributedDataParallel`` needs it."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.learner = learner

    def forward(self, images: Images, rows: Tensor, generator: torch.Generator) -> LossAndMetrics:
        loss, figures = self.learner.loss(images, rows, generator)
        return loss, {name: each.detach() for name, each in figures.items()}


class _Run:
    """The state of a training run."""

    def __init__(self, learner: Any, schedule: Schedule, context: FitContext) -> None:
        self.learner, self.schedule, self.context = learner, schedule, context
        self.faces = len(context.faces.images)
        self.own = _batches_of_process(schedule.gradient_accumulation_steps)
        self.per_epoch = schedule.per_epoch(self.faces)
        if self.per_epoch == 0:
            batches = schedule.gradient_accumulation_steps
            step = f"batch_size={schedule.batch_size}" + (f" times {batches}" if batches > 1 else "")
            distributed.abort(f"{step} exceeds the {self.faces} faces of {context.faces.name}")
        self.weights = [each for each in learner.parameters() if each.requires_grad]
        self.parts = learner.parameter_groups() if isinstance(learner, HasParameterGroups) else [self.weights]
        self.optimizer = schedule.make_optimizer(self.weights)
        self.loss: Callable[..., LossAndMetrics] = learner.loss
        self.apart: Callable[[], AbstractContextManager[Any]] = nullcontext  # skips the averaging
        self.steps, self.epoch = 0, 0
        self.history: list[dict[str, float]] = []
        self.sums: dict[str, Tensor] = {}
        self.best: dict[str, Tensor] | None = None
        self.lowest, self.idle = math.inf, 0  # the lowest validation loss, and epochs since
        self._saved = time.monotonic()

    def connect(self) -> None:
        """Average gradients over several processes, from the weights of the main process on."""
        if distributed.world_size() > 1:
            both = distributed.data_parallel(_Losses(self.learner), self.context.device)
            self.loss, self.apart = both, both.no_sync

    def batches(self) -> Iterator[Drawn]:
        """The remaining batches of this epoch that belong to this process."""
        order = np.random.default_rng((self.context.seed, self.epoch)).permutation(self.faces)
        size, each = self.schedule.batch_size, self.schedule.gradient_accumulation_steps
        begun = self.epoch * self.per_epoch * each
        for number in range(
            self.steps * each - begun + distributed.rank(), self.per_epoch * each, distributed.world_size()
        ):
            yield begun + number, np.sort(order[number * size : (number + 1) * size])

    def load(self, batch: Drawn) -> Loaded:
        number, rows = batch
        return number, rows, self.context.faces.load(rows, self.context.device)

    def step(self, batches: Iterator[Loaded]) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        for left in reversed(range(self.own)):
            with self.apart() if left else nullcontext():
                self._descend(*next(batches))
        if self.schedule.grad_clip_norm is not None:
            for part in self.parts:
                nn.utils.clip_grad_norm_(part, self.schedule.grad_clip_norm)
        if self.schedule.lr_scheduler != "step":
            self._set_lr(self.schedule.lr_factor(self.steps / (self.schedule.epochs * self.per_epoch)))
        self.optimizer.step()
        self.steps += 1
        self.learner.after_step(self.steps)
        due = time.monotonic() - self._saved > _CHECKPOINT_SECONDS
        if distributed.broadcast_flag(due or interrupts.requested()):
            self._save(self._checked())
            if distributed.broadcast_flag(interrupts.requested()):
                raise interrupts.Interrupted(f"training stopped after step {self.steps}")

    def _descend(self, number: int, rows: np.ndarray, images: Images) -> None:
        generator = torch.Generator(self.context.device).manual_seed(self._batch_seed(number))
        with self._precision():
            loss, figures = self.loss(images, torch.from_numpy(rows).to(self.context.device), generator)
        (loss / self.own if self.own > 1 else loss).backward()
        for name, figure in {"loss": loss, **figures}.items():
            self.sums[name] = self.sums.get(name, 0) + figure.detach().double()

    def _batch_seed(self, number: int) -> int:
        """The seed of a batch, hashed because a CPU generator uses only the lowest 32 bits."""
        return int(np.random.SeedSequence((self.context.seed, number)).generate_state(1, np.uint64)[0])

    def _set_lr(self, factor: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.lr * factor

    @property
    def out_of_patience(self) -> bool:
        return self.schedule.patience is not None and self.idle >= self.schedule.patience

    def close(self) -> None:
        """Finish an epoch: log, validate, decay the learning rate, write a checkpoint."""
        totals = self._checked()
        count = self.per_epoch * self.schedule.gradient_accumulation_steps
        self.history.append({name: float(total) / count for name, total in totals.items()})
        self.sums, self.epoch = {}, self.epoch + 1
        distributed.broadcast(self.learner.state_dict().values())  # statistics of batch normalisation
        validated = isinstance(self.learner, Validated)
        if validated:
            self._validate()
        if isinstance(self.learner, Monitored) and self._is_monitored():
            self.history[-1] |= self._evaluate(self.learner.monitored_metrics)
        waited = self.idle if validated else self.epoch
        if waited and waited % self.schedule.lr_step_size == 0:
            for group in self.optimizer.param_groups:
                group["lr"] *= self.schedule.lr_gamma
        self._save({})

    def _is_monitored(self) -> bool:
        last = self.epoch == self.schedule.epochs or self.out_of_patience
        return last or self.epoch % self.learner.val_every_n_epochs == 0

    def _validate(self) -> None:
        figures = self._evaluate(self.learner.validation_metrics)
        self.history[-1] |= figures
        self.idle += 1
        if (found := next(iter(figures.values()))) < self.lowest:
            self.lowest, self.idle = found, 0
            self.best = {name: each.detach().clone() for name, each in self.learner.state_dict().items()}

    @torch.no_grad()
    def _evaluate(self, metrics: Callable[[], Mapping[str, Tensor]]) -> dict[str, float]:
        """The metrics of the main process, in evaluation mode."""
        self.learner.eval()
        with self._precision():
            figures = {name: float(each) for name, each in metrics().items()}
        self.learner.train()
        values = torch.tensor(list(figures.values()), dtype=torch.float64)
        distributed.broadcast([values])
        return dict(zip(figures, values.tolist(), strict=True))

    def resume(self) -> None:
        state = load_checkpoint(self.context.unfinished, self.context.device)
        if state is None:
            return
        restore(self.context.unfinished, state, self.learner, self.optimizer)
        for name in _PLAIN:
            setattr(self, name, state[name])
        mine = distributed.is_main_process()
        self.sums = {name: each if mine else torch.zeros_like(each) for name, each in state["sums"].items()}

    def _save(self, sums: dict[str, Tensor]) -> None:
        state = {"learner": self.learner.state_dict(), "optimizer": self.optimizer.state_dict(), "sums": sums}
        save_checkpoint(self.context.unfinished, state | {name: getattr(self, name) for name in _PLAIN})
        self._saved = time.monotonic()
        activity.kept()

    def _checked(self) -> dict[str, Tensor]:
        """The sums over all processes. Raises FrbenchError: a loss or a weight is not finite.

        Weights are checked too, since a finite loss may have a gradient that is not.
        """
        totals = self.sums
        if distributed.world_size() > 1:
            whole = distributed.all_gather(torch.stack(list(self.sums.values()))).sum(dim=0).to(self.context.device)
            totals = dict(zip(self.sums, whole, strict=True))
        numbers = [totals["loss"], *(each.detach() for each in self.learner.parameters())]
        if not bool(torch.stack([torch.isfinite(each).all() for each in numbers]).all()):
            checkpoint = self.context.unfinished
            distributed.abort(
                f"the loss or a weight is not finite in epoch {self.epoch + 1} (step {self.steps}); take a lower lr "
                f"than {self.schedule.lr}"
                + (
                    f"; the last good state is in {checkpoint}"
                    if checkpoint.exists()
                    else "; there is no checkpoint yet"
                )
            )
        return totals

    def _precision(self) -> AbstractContextManager[Any]:
        if self.schedule.precision == "full":
            return nullcontext()
        return torch.autocast(self.context.device.type, dtype=torch.bfloat16)


def _batches_of_process(batches: int) -> int:
    """The number of batches of a step that this process computes."""
    count = distributed.world_size()
    if batches < 1 or batches % count:
        distributed.abort(
            f"gradient_accumulation_steps={batches} is not a multiple of the {count} processes; take one, "
            f"such as ++training.schedule.gradient_accumulation_steps={count} "
            f"or ++defense.recipe.schedule.gradient_accumulation_steps={count}"
        )
    return batches // count
