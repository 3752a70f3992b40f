"""The one projected-descent loop: FGSM, BIM, PGD and MI-FGSM under any budget, on the verification score itself.

Constants follow specs/ensemble_attacks 6.3 (code: RobFR attack/*.py; PGD's restarts: inference): a step is
1.5 radii over the number of steps; MI-FGSM normalises by the mean absolute gradient and has decay 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from frbench.harness.contracts import (
    AttackResult,
    Ball,
    Budget,
    Draw,
    Goal,
    Images,
    PairBatch,
    Scores,
    Template,
    View,
)
from frbench.harness.noise import uniform

_START = -1  # the draw of starting noise; a defense's draws count from zero
_TINY = 1e-12


class Ledger:
    """What is known of each pair: the best image so far by the attacker's loss, its score, the steps spent."""

    def __init__(self, goal: Goal, clean: Images) -> None:
        self.goal = goal
        self.images = clean
        self.scores = torch.zeros(len(clean), device=clean.device)
        self.loss = torch.full_like(self.scores, torch.inf)
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
        self.images = self.images.index_copy(0, winners, images[better])
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


@dataclass(frozen=True)
class ProjectedDescent:
    """Descend the goal's loss, projecting onto the budget after each step.

    steps:    gradient steps a start. stride: radii walked in all, were every step in one direction.
    starts:   the first start is the clean image, the others are random in the budget.
    momentum: decay of the accumulated gradient (MI-FGSM), or null for none.
    stop:     ``on_success`` drops pairs that pass the view's threshold out of the batch, ``never`` keeps descending.
    keep:     ``best`` iterate by the loss, or the ``last`` (what attack libraries return).

    A probe that is the reference itself has a zero gradient, so such rows start from noise.
    """

    steps: int = 20
    stride: float = 1.5
    starts: int = 1
    momentum: float | None = None
    stop: Literal["never", "on_success"] = "never"
    keep: Literal["best", "last"] = "best"

    needs_gradient = True
    bounded = True
    batch_dependent = False

    @property
    def stops_early(self) -> bool:
        return self.stop == "on_success"

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; gradients flow through ``view`` to the probe alone."""
        ledger = Ledger(goal, pairs.probe)
        template, aim = view.enroll(pairs), view.aim(goal, pairs.index)
        ball = budget.around(pairs.probe)
        for start in range(self.starts):
            front = Front(self._start(view, pairs, ball, start), template, ball, aim)
            if self.stops_early and start:
                front = front.keep(~goal.achieved(ledger.scores, aim))
            self._descend(view, front, ledger, first=start * (self.steps + 1))
        achieved = goal.achieved(ledger.scores, aim)
        return AttackResult(ledger.images, achieved, ledger.iterations)

    def _start(self, view: View, pairs: PairBatch, ball: Ball, start: int) -> Images:
        same_image = (pairs.probe - pairs.reference).abs().amax(dim=(1, 2, 3)) == 0
        if start == 0 and not bool(same_image.any()):
            return pairs.probe
        noise = uniform(pairs.index, Draw(view.seed, start, _START), tuple(pairs.probe.shape[1:]))
        sampled = ball.sample(noise.contiguous(memory_format=torch.channels_last))
        return sampled if start else torch.where(same_image[:, None, None, None], sampled, pairs.probe)

    def _descend(self, view: View, front: Front, ledger: Ledger, first: int) -> None:
        """One start: ``steps`` gradients, numbered from ``first``, and a last look at where they led."""
        for step in range(self.steps):
            if not len(front):
                return
            scores, gradient = _gradient(view, ledger.goal, front, first + step)
            if self.keep == "best" or self.stops_early:
                ledger.offer(front.rows, front.images, scores)
            if self.stops_early:
                going = ~ledger.goal.achieved(scores, front.aim)
                front, gradient = front.keep(going), gradient[going]
            ledger.iterations[front.where] += 1
            front.images = front.ball.step(front.images, self._direction(front, gradient), self.stride / self.steps)
        if len(front):
            with torch.no_grad():
                scores = view.score(front.images, front.template, first + self.steps)
            ledger.offer(front.rows, front.images, scores)

    def _direction(self, front: Front, gradient: Tensor) -> Tensor:
        if self.momentum is None:
            return gradient
        scale = gradient.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(_TINY)
        pushed = gradient / scale
        front.velocity = pushed if front.velocity is None else front.velocity * self.momentum + pushed
        return front.velocity


def _gradient(view: View, goal: Goal, front: Front, step: int) -> tuple[Scores, Tensor]:
    """Scores (N,) at the images and the loss's gradient (N, 3, H, W); of a sum, so that rows do not mix."""
    images = front.images.detach().requires_grad_(True)
    scores = view.score(images, front.template, step)
    (gradient,) = torch.autograd.grad(goal.loss(scores).sum(), images)
    return scores.detach(), gradient
