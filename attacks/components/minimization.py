"""State that minimization attacks share: the smallest adversarial image of each pair, linearization, line search."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from frbench.attacks.components.active_set import gradient, leave_reference, noise_for
from frbench.harness.core.contracts import AttackResult, Budget, Draw, Goal, Images, Mask, Scores, Template, View
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.face_data import PairBatch

_NUDGE = 1 / 255


class SmallestPerturbations:
    """Per pair: the adversarial image of smallest size so far; before the first success, the one of lowest loss."""

    def __init__(self, goal: Goal, clean: Images, aim: Scores) -> None:
        self.goal, self.aim = goal, aim
        self.images = clean.clone()
        self.size = torch.full((len(clean),), torch.inf, device=clean.device)
        self.loss = torch.full_like(self.size, torch.inf)
        self.iterations = torch.zeros(len(clean), dtype=torch.int64, device=clean.device)

    @property
    def achieved(self) -> Mask:
        """Pairs (N,) with an adversarial image."""
        return self.size.isfinite()

    def update(self, rows: Tensor, images: Images, scores: Scores, size: Tensor) -> Mask:
        """Keep ``images`` of the pairs ``rows`` where they are better.

        Returns:
            Which of them (n,) achieve the goal; a NaN score never does.
        """
        loss, success = self.goal.loss(scores), self.goal.achieved(scores, self.aim[rows])
        nearer = ~success & ~self.achieved[rows] & (loss < self.loss[rows])
        better = (success & (size < self.size[rows])) | nearer
        winners = rows[better]
        self.images[winners], self.loss[winners] = images[better], loss[better]
        self.size[winners] = torch.where(success, size, torch.inf)[better]
        return success

    def result(self) -> AttackResult:
        return AttackResult(self.images, self.achieved, self.iterations)


@dataclass(frozen=True)
class PendingPairs:
    """The pairs still under attack, one row each; ``rows`` are their positions in the whole batch."""

    images: Images
    clean: Images
    template: Template
    aim: Scores
    rows: Tensor

    def __getitem__(self, mask: Mask) -> Self:
        return self if bool(mask.all()) else type(self)(**{f.name: getattr(self, f.name)[mask] for f in fields(self)})

    def __len__(self) -> int:
        return len(self.rows)


def begin(view: View, pairs: PairBatch, goal: Goal) -> tuple[PendingPairs, SmallestPerturbations]:
    """All pairs at their probes; a probe that equals its reference starts from noise of one gray level."""
    aim = view.aim(goal, pairs.index)
    rows = torch.arange(len(pairs), device=pairs.index.device)
    images = leave_reference(pairs, lambda: _nudged(view, pairs))
    pending = PendingPairs(images, pairs.probe, view.enroll(pairs), aim, rows)
    return pending, SmallestPerturbations(goal, pairs.probe, aim)


def _nudged(view: View, pairs: PairBatch) -> Images:
    noise = noise_for(pairs, Draw(view.seed, Stream.ATTACK))
    return (pairs.probe + (2 * noise - 1) * _NUDGE).clamp(0, 1).contiguous(memory_format=torch.channels_last)


def linearize(view: View, goal: Goal, pending: PendingPairs, step: int) -> tuple[Scores, Tensor, Tensor]:
    """The loss and its gradient at the current images.

    Returns:
        Scores (n,); loss minus the loss at the aim (n,); gradient of the loss (n, 3, H, W). Only scores may be NaN.
    """
    scores, slope = gradient(view, goal, pending.images, pending.template, step)
    gap = torch.nan_to_num(goal.loss(scores) - goal.loss(pending.aim), nan=0.0)
    return scores, gap, torch.nan_to_num(slope, nan=0.0)


def line_search(
    view: View, found: SmallestPerturbations, whole: PendingPairs, budget: Budget, steps: int, first: int
) -> None:
    """Shorten each perturbation by bisection between the clean and the adversarial image, one score per step.

    Args:
        whole: all pairs, as ``begin`` returns them.
        budget: measures the size of a perturbation.
        steps: number of bisections.
        first: step number of the first score.
    """
    line = whole[found.achieved & (found.size > 0)]
    ends, low = found.images[line.rows], torch.zeros_like(line.aim)
    high = torch.ones_like(low)
    for step in range(first, first + steps if len(line) else first):
        middle = (low + high) / 2
        tried = replace(line, images=torch.lerp(line.clean, ends, middle[:, None, None, None]))
        success = score_images(view, found, tried, budget, step)
        low, high = torch.where(success, low, middle), torch.where(success, middle, high)


@torch.no_grad()
def score_images(view: View, found: SmallestPerturbations, pending: PendingPairs, budget: Budget, step: int) -> Mask:
    """Score the images of ``pending`` without a gradient and update ``found``; which (n,) achieve the goal."""
    scores = view.score(pending.images, pending.template, step)
    return found.update(pending.rows, pending.images, scores, budget.size(pending.images, pending.clean))
