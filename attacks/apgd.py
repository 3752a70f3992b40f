"""APGD for verification: projected descent that sets its own step size, for each pair by itself.

Croce and Hein, ICML 2020, on the cosine instead of a cross-entropy; schedule as in specs/ensemble_attacks 6.3.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from frbench.attacks.components.active_set import Front, Ledger, gradient
from frbench.harness.core.contracts import AttackResult, Budget, Draw, Goal, Images, Scores, View
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.domains import PositiveInt
from frbench.harness.core.face_data import PairBatch

_FIRST_STEP = 2.0  # radii
_PULL = 0.75  # share of the gradient step in a move; the rest is inertia
_RISING = 0.75  # at a checkpoint, so large a share of the steps should have been improvements
_GAIN = 1e-5  # what counts as better: below is the rounding of a cosine, which changes with the size of the batch
_NOISE = {"cosine": 1, "hinge": 2}  # k of the starting noise: with equal noise both losses would take equal steps


def checkpoints(steps: int) -> dict[int, int]:
    """After which steps the step size is looked at, and how many steps each looks back on."""
    gap, least, shrink = (max(int(share * steps), 1) for share in (0.22, 0.06, 0.03))
    found, at = {}, gap
    while at <= steps:
        found[at] = gap
        gap = max(gap - shrink, least)
        at += gap
    return found


@dataclass
class _Walk:
    """What APGD knows of each pair of a front on one start; ``value`` is what it descends."""

    previous: Images
    slope: Tensor
    value: Tensor
    best: Images
    best_slope: Tensor
    best_value: Tensor
    best_scores: Scores
    checked: Tensor
    gains: Tensor
    halved: Tensor
    size: Tensor

    @classmethod
    def begun(cls, images: Images, scores: Scores, value: Tensor, slope: Tensor) -> _Walk:
        """A walk that has seen ``images`` alone. None can be said to be idle at its first checkpoint."""
        gains, halved = torch.zeros_like(value), torch.ones_like(value, dtype=torch.bool)
        size = torch.full_like(slope[:, :1, :1, :1], _FIRST_STEP)
        return cls(images, slope, value, images, slope, value, scores, value, gains, halved, size)

    def __getitem__(self, mask: Tensor) -> _Walk:
        return _Walk(**{field.name: getattr(self, field.name)[mask] for field in fields(self)})

    def saw(self, images: Images, scores: Scores, value: Tensor, slope: Tensor) -> None:
        """Where the last move led."""
        better = value < self.best_value - _GAIN
        rows = better[:, None, None, None]
        self.best, self.best_slope = torch.where(rows, images, self.best), torch.where(rows, slope, self.best_slope)
        self.best_value = torch.where(better, value, self.best_value)
        self.best_scores = torch.where(better, scores, self.best_scores)
        self.gains = self.gains + (value < self.value - _GAIN)
        self.slope, self.value = slope, value

    def review(self, images: Images, gap: int) -> Images:
        """At a checkpoint: pairs that go to and fro, or nowhere, go back to their best with half the step."""
        wavering = self.gains <= _RISING * gap
        idle = ~self.halved & (self.best_value >= self.checked)
        self.halved = wavering | idle
        rows = self.halved[:, None, None, None]
        self.size = torch.where(rows, self.size / 2, self.size)
        self.slope = torch.where(rows, self.best_slope, self.slope)
        self.checked, self.gains = self.best_value, torch.zeros_like(self.gains)
        return torch.where(rows, self.best, images)

    def move(self, front: Front, pull: float) -> None:
        """A step against the slope, with inertia, within the ball."""
        images = front.images
        stepped = front.ball.step(images, self.slope, self.size)
        ahead = images + pull * (stepped - images) + (1 - pull) * (images - self.previous)
        self.previous, front.images = images, front.ball.project(ahead)


@dataclass(frozen=True)
class Apgd:
    """Descend with steps of two radii that are halved, pair by pair, where they lead nowhere; keep the best iterate.

    loss:   ``cosine``, or ``hinge``: how far the score is from the view's aim, without a slope beyond it.
    steps:  gradient steps a run. restarts: runs, each from random noise in the budget.
    early_stop: whether a pair leaves the batch as soon as it passes the view's threshold.
    """

    identity = "attack.apgd"
    version = 1

    loss: Literal["cosine", "hinge"] = "cosine"
    steps: PositiveInt = 100
    restarts: PositiveInt = 1
    early_stop: bool = False

    needs_gradient = True
    bounded = True
    batch_dependent = False

    @property
    def stops_early(self) -> bool:
        """The hinge does by itself: beyond the aim it has nowhere to go."""
        return self._drops or self.loss == "hinge"

    @property
    def _drops(self) -> bool:
        return self.early_stop

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; gradients flow through ``view`` to the probe alone."""
        ledger = Ledger(goal, pairs.probe)
        template, aim = view.enroll(pairs), view.aim(goal, pairs.index)
        ball = budget.around(pairs.probe)
        for start in range(self.restarts):
            noise = uniform(
                pairs.index, Draw(view.seed, Stream.ATTACK, start, _NOISE[self.loss]), tuple(pairs.probe.shape[1:])
            )
            images = ball.sample(noise.contiguous(memory_format=torch.channels_last))
            front = Front(images, template, ball, aim)
            if self._drops and start:
                front = front.keep(~goal.achieved(ledger.scores, aim))
            self._descend(view, front, ledger, first=start * (self.steps + 1))
        return AttackResult(ledger.images, goal.achieved(ledger.scores, aim), ledger.iterations)

    def _descend(self, view: View, front: Front, ledger: Ledger, first: int) -> None:
        """One start: ``steps`` gradients, numbered from ``first``, and a last look at where they led."""
        gaps, goal = checkpoints(self.steps), ledger.goal
        walk: _Walk | None = None
        for step in range(self.steps):
            if not len(front):
                return
            scores, slope = gradient(view, goal, front.images, front.template, first + step)
            value = self._objective(goal, scores, front.aim)
            if self.loss == "hinge":
                slope = slope * (value > 0)[:, None, None, None]
            if walk is None:
                walk = _Walk.begun(front.images, scores, value, slope)
            else:
                walk.saw(front.images, scores, value, slope)
            if self._drops:
                done = goal.achieved(scores, front.aim)
                if bool(done.any()):
                    gone = front.keep(done)
                    ledger.offer(gone.rows, gone.images, scores[done])
                    front, walk = front.keep(~done), walk[~done]
            if step in gaps:
                front.images = walk.review(front.images, gaps[step])
            ledger.iterations[front.where] += 1
            walk.move(front, pull=_PULL if step else 1.0)
        if walk is not None and len(front):
            with torch.no_grad():
                scores = view.score(front.images, front.template, first + self.steps)
            walk.saw(front.images, scores, self._objective(goal, scores, front.aim), walk.slope)
            ledger.offer(front.rows, walk.best, walk.best_scores)

    def _objective(self, goal: Goal, scores: Scores, aim: Scores) -> Tensor:
        """What is descended (N,)."""
        loss = goal.loss(scores)
        return loss if self.loss == "cosine" else (loss - goal.loss(aim)).relu()
