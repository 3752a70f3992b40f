"""What attacks on the size of a change share: the smallest success of each pair, the pairs that go on, and a look."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from frbench.attacks.components.active_set import gradient
from frbench.harness.core.contracts import AttackResult, Budget, Draw, Goal, Images, Mask, Scores, Template, View
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.face_data import PairBatch

_NUDGE = 1 / 255


class Smallest:
    """Of each pair the smallest image so far that achieves the goal; while there is none, the one of lowest loss."""

    def __init__(self, goal: Goal, clean: Images, aim: Scores) -> None:
        self.goal, self.aim = goal, aim
        self.images = clean.clone()
        self.size = torch.full((len(clean),), torch.inf, device=clean.device)
        self.loss = torch.full_like(self.size, torch.inf)
        self.iterations = torch.zeros(len(clean), dtype=torch.int64, device=clean.device)

    @property
    def achieved(self) -> Mask:
        return self.size.isfinite()

    def offer(self, rows: Tensor, images: Images, scores: Scores, size: Tensor) -> Mask:
        """Keep ``images`` of the pairs ``rows`` where they are better; which of them succeed. NaN never does."""
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
class Pending:
    """The pairs still under attack, each field one row a pair; ``rows`` are their places in the whole batch."""

    images: Images
    clean: Images
    template: Template
    aim: Scores
    rows: Tensor

    def __getitem__(self, mask: Mask) -> Self:
        return self if bool(mask.all()) else type(self)(**{f.name: getattr(self, f.name)[mask] for f in fields(self)})

    def __len__(self) -> int:
        return len(self.rows)


def begin(view: View, pairs: PairBatch, goal: Goal) -> tuple[Pending, Smallest]:
    """All pairs pending at their probes; a probe that is its own reference, where slopes are zero, a nudge away."""
    aim = view.aim(goal, pairs.index)
    rows = torch.arange(len(pairs), device=pairs.index.device)
    pending = Pending(_departure(view, pairs), pairs.probe, view.enroll(pairs), aim, rows)
    return pending, Smallest(goal, pairs.probe, aim)


def _departure(view: View, pairs: PairBatch) -> Images:
    same_image = (pairs.probe - pairs.reference).abs().amax(dim=(1, 2, 3)) == 0
    if not bool(same_image.any()):
        return pairs.probe
    noise = uniform(pairs.index, Draw(view.seed, Stream.ATTACK), tuple(pairs.probe.shape[1:]))
    nudged = (pairs.probe + (2 * noise - 1) * _NUDGE).clamp(0, 1).contiguous(memory_format=torch.channels_last)
    return torch.where(same_image[:, None, None, None], nudged, pairs.probe)


def look(view: View, goal: Goal, pending: Pending, step: int) -> tuple[Scores, Tensor, Tensor]:
    """Scores (N,), how far the loss is above its aim (N,), and its slope (N, 3, H, W); only the scores may be NaN."""
    scores, slope = gradient(view, goal, pending.images, pending.template, step)
    gap = torch.nan_to_num(goal.loss(scores) - goal.loss(pending.aim), nan=0.0)
    return scores, gap, torch.nan_to_num(slope, nan=0.0)


def line_search(view: View, found: Smallest, whole: Pending, budget: Budget, steps: int, first: int) -> None:
    """``steps`` bisections between clean and found images, one score each, numbered from ``first``.

    ``whole`` is as ``begin`` made it; ``budget`` tells the size of a change.
    """
    line = whole[found.achieved & (found.size > 0)]
    ends, low = found.images[line.rows], torch.zeros_like(line.aim)
    high = torch.ones_like(low)
    for step in range(first, first + steps if len(line) else first):
        middle = (low + high) / 2
        tried = replace(line, images=torch.lerp(line.clean, ends, middle[:, None, None, None]))
        success = last_look(view, found, tried, budget, step)
        low, high = torch.where(success, low, middle), torch.where(success, middle, high)


@torch.no_grad()
def last_look(view: View, found: Smallest, pending: Pending, budget: Budget, step: int) -> Mask:
    """Offer the images of ``pending`` as they are; which of them achieve the goal."""
    scores = view.score(pending.images, pending.template, step)
    return found.offer(pending.rows, pending.images, scores, budget.size(pending.images, pending.clean))
