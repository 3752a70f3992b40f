"""What attacks share: the best image of each pair so far, the pairs still under attack, and one gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from frbench.harness.core.contracts import Ball, Goal, Images, Scores, Template, View


class Ledger:
    """What is known of each pair: the best image so far by the attacker's loss, its score, the steps spent."""

    def __init__(self, goal: Goal, clean: Images) -> None:
        self.goal = goal
        self.images = clean.clone()
        self.loss = torch.full((len(clean),), torch.inf, device=clean.device)
        self.scores = torch.full_like(self.loss, torch.nan)  # not scored yet, and so no success of any goal
        self.iterations = torch.zeros(len(clean), dtype=torch.int64, device=clean.device)

    def offer(self, rows: Tensor | None, images: Images, scores: Scores) -> None:
        """Keep ``images`` of the pairs ``rows`` (all where None) where they are better; ties keep the older."""
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
class Front:
    """The pairs still under attack. ``rows`` is None while that is all of them."""

    images: Images
    template: Template
    ball: Ball
    aim: Scores
    rows: Tensor | None = None
    velocity: Tensor | None = None

    def keep(self, mask: Tensor) -> Front:
        if bool(mask.all()):
            return self
        rows = mask.nonzero().flatten() if self.rows is None else self.rows[mask]
        velocity = None if self.velocity is None else self.velocity[mask]
        return Front(self.images[mask], self.template[mask], self.ball[mask], self.aim[mask], rows, velocity)

    @property
    def where(self) -> Tensor | slice:
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
    """Scores (N,) at ``images`` and the gradient (N, 3, H, W) of the goal's loss; of a sum, so that rows do not mix.

    ``through``: a differentiable change of the images before they are scored; scores are then of what it makes.
    """
    images = images.detach().requires_grad_(True)
    scores = view.score(through(images) if through else images, template, step)
    (found,) = torch.autograd.grad(goal.loss(scores).sum(), images)
    return scores.detach(), found
