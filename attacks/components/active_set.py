"""State that iterative attacks share: the best iterate of each pair, the pairs still under attack, the gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from frbench.harness.core.contracts import Ball, Draw, Goal, Images, Scores, Template, View
from frbench.harness.core.counter_rng import uniform
from frbench.harness.core.face_data import PairBatch


class BestIterates:
    """Per pair: the iterate of lowest loss so far, its score, and the number of iterations.

    Attributes:
        images: best iterates (N, 3, H, W); the clean images at first.
        scores: their scores (N,); NaN before the first update, which achieves no goal.
        iterations: int64 (N,), counted by the attack.
    """

    def __init__(self, goal: Goal, clean: Images) -> None:
        self.goal = goal
        self.images = clean.clone()
        self.loss = torch.full((len(clean),), torch.inf, device=clean.device)
        self.scores = torch.full_like(self.loss, torch.nan)
        self.iterations = torch.zeros(len(clean), dtype=torch.int64, device=clean.device)

    def update(self, rows: Tensor | None, images: Images, scores: Scores) -> None:
        """Keep ``images`` of the pairs ``rows`` (all pairs if None) where their loss is lower; ties keep the old."""
        loss = self.goal.loss(scores)
        if rows is None:
            better = loss < self.loss
            self.loss = torch.where(better, loss, self.loss)
            self.scores = torch.where(better, scores, self.scores)
            self.images = torch.where(better[:, None, None, None], images, self.images)
            return
        better = loss < self.loss[rows]
        winners = rows[better]
        self.images[winners] = images[better]
        self.loss[winners], self.scores[winners] = loss[better], scores[better]


@dataclass
class ActivePairs:
    """The pairs still under attack, one row each.

    Attributes:
        images: current iterates (n, 3, H, W).
        aim: scores (n,) to pass.
        rows: positions in the whole batch; None while all pairs are active.
        velocity: accumulated gradient, or None.
    """

    images: Images
    template: Template
    ball: Ball
    aim: Scores
    rows: Tensor | None = None
    velocity: Tensor | None = None

    def keep(self, mask: Tensor) -> ActivePairs:
        """The pairs where ``mask`` (n,) is true."""
        if bool(mask.all()):
            return self
        rows = mask.nonzero().flatten() if self.rows is None else self.rows[mask]
        velocity = None if self.velocity is None else self.velocity[mask]
        return ActivePairs(self.images[mask], self.template[mask], self.ball[mask], self.aim[mask], rows, velocity)

    @property
    def where(self) -> Tensor | slice:
        """``rows`` as an index into tensors of the whole batch."""
        return slice(None) if self.rows is None else self.rows

    def __len__(self) -> int:
        return len(self.images)


def gradient(
    view: View,
    goal: Goal,
    images: Images,
    template: Template,
    step: int,
    through: Callable[[Images], Images] | None = None,
) -> tuple[Scores, Tensor]:
    """Scores (N,) and gradients (N, 3, H, W) of the goal's loss, each row by itself.

    Args:
        through: differentiable transformation of the images before they are scored; the scores are then those of the
            transformed images.
    """
    images = images.detach().requires_grad_(True)
    scores = view.score(through(images) if through else images, template, step)
    (found,) = torch.autograd.grad(goal.loss(scores).sum(), images)
    return scores.detach(), found


def noise_for(pairs: PairBatch, draw: Draw) -> Tensor:
    """Uniform noise in [0, 1) of the shape of the probes, in channels-last layout."""
    noise = uniform(pairs.index, draw, tuple(pairs.probe.shape[1:]))
    return noise.contiguous(memory_format=torch.channels_last)


def leave_reference(pairs: PairBatch, moved: Callable[[], Images]) -> Images:
    """The probes; where a probe equals its reference, so that the gradient is zero, the row of ``moved()`` instead."""
    same_image = (pairs.probe - pairs.reference).abs().amax(dim=(1, 2, 3)) == 0
    if not bool(same_image.any()):
        return pairs.probe
    return torch.where(same_image[:, None, None, None], moved(), pairs.probe)
