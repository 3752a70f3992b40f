"""APGD on a verification score: projected gradient descent that adapts the step size of each pair.

Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
ICML 2020, Algorithm 1, with the cosine in place of the cross-entropy.

The method: docs/methods/attacks_within_a_budget.md.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from frbench.attacks.components.active_set import ActivePairs, BestIterates, gradient, noise_for
from frbench.harness.core.contracts import Attack, AttackResult, Budget, Draw, Goal, Images, Scores, View
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.domains import PositiveInt
from frbench.harness.core.face_data import PairBatch

_FIRST_STEP = 2.0  # radii
_ALPHA = 0.75  # weight of the gradient step in an update; the rest is momentum
_RHO = 0.75  # at a checkpoint, the fraction of steps that should have improved the loss
_MIN_GAIN = 1e-5  # smaller improvements are the rounding of a cosine, which depends on the batch size
_NOISE = {"cosine": 1, "hinge": 2}  # k of the starting noise: with equal noise both losses would take equal steps


def checkpoints(steps: int) -> dict[int, int]:
    """Step after which the step size is checked -> number of steps since the previous check (Section 3.1)."""
    gap, least, shrink = (max(int(fraction * steps), 1) for fraction in (0.22, 0.06, 0.03))
    found, at = {}, gap
    while at <= steps:
        found[at] = gap
        gap = max(gap - shrink, least)
        at += gap
    return found


@dataclass
class _RunState:
    """State of one run, one row per active pair.

    Attributes:
        previous: images before the last update.
        slope, value: gradient and objective at the current images.
        best, best_slope, best_value, best_scores: the image of lowest objective in this run, and its values.
        checked: best objective at the previous checkpoint.
        gains: improving steps since the previous checkpoint.
        halved: whether the previous checkpoint halved the step size.
        size: step size in radii (n, 1, 1, 1).
    """

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
    def begin(cls, images: Images, scores: Scores, value: Tensor, slope: Tensor) -> _RunState:
        """The state at the first images. ``halved`` is true so that the first checkpoint ignores condition 2."""
        gains, halved = torch.zeros_like(value), torch.ones_like(value, dtype=torch.bool)
        size = torch.full_like(slope[:, :1, :1, :1], _FIRST_STEP)
        return cls(images, slope, value, images, slope, value, scores, value, gains, halved, size)

    def __getitem__(self, mask: Tensor) -> _RunState:
        return _RunState(**{field.name: getattr(self, field.name)[mask] for field in fields(self)})

    def observe(self, images: Images, scores: Scores, value: Tensor, slope: Tensor) -> None:
        """Record the images that the last update gave."""
        better = value < self.best_value - _MIN_GAIN
        rows = better[:, None, None, None]
        self.best, self.best_slope = torch.where(rows, images, self.best), torch.where(rows, slope, self.best_slope)
        self.best_value = torch.where(better, value, self.best_value)
        self.best_scores = torch.where(better, scores, self.best_scores)
        self.gains = self.gains + (value < self.value - _MIN_GAIN)
        self.slope, self.value = slope, value

    def check(self, images: Images, gap: int) -> Images:
        """At a checkpoint: halve the step size where progress has stalled, and restart there from the best image."""
        oscillating = self.gains <= _RHO * gap  # condition 1 of the paper
        stalled = ~self.halved & (self.best_value >= self.checked)  # condition 2
        self.halved = oscillating | stalled
        rows = self.halved[:, None, None, None]
        self.size = torch.where(rows, self.size / 2, self.size)
        self.slope = torch.where(rows, self.best_slope, self.slope)
        self.checked, self.gains = self.best_value, torch.zeros_like(self.gains)
        return torch.where(rows, self.best, images)

    def update(self, active: ActivePairs, alpha: float) -> None:
        """A gradient step with momentum, projected onto the ball."""
        images = active.images
        stepped = active.ball.step(images, self.slope, self.size)
        moved = images + alpha * (stepped - images) + (1 - alpha) * (images - self.previous)
        self.previous, active.images = images, active.ball.project(moved)


@dataclass(frozen=True)
class Apgd(Attack):
    """Descends with steps of two radii, halved per pair where progress stalls, and returns the best iterate.

    Attributes:
        loss: ``cosine``, or ``hinge`` for the distance of the score from the view's aim, with no gradient beyond it.
        steps: gradient steps per run.
        restarts: runs, each from a random image within the budget.
        early_stop: drop a pair from the batch as soon as its score passes the view's threshold.
    """

    identity = "attack.apgd"
    version = 1

    loss: Literal["cosine", "hinge"] = "cosine"
    steps: PositiveInt = 100
    restarts: PositiveInt = 1
    early_stop: bool = False

    @property
    def stops_early(self) -> bool:
        """The hinge loss also stops at success, since it has no gradient beyond the aim."""
        return self.early_stop or self.loss == "hinge"

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; only the probe has a gradient."""
        best = BestIterates(goal, pairs.probe)
        template, aim = view.enroll(pairs), view.aim(goal, pairs.index)
        ball = budget.around(pairs.probe)
        for run in range(self.restarts):
            images = ball.sample(noise_for(pairs, Draw(view.seed, Stream.ATTACK, run, _NOISE[self.loss])))
            active = ActivePairs(images, template, ball, aim)
            if self.early_stop and run:
                active = active.keep(~goal.achieved(best.scores, aim))
            self._descend(view, active, best, first=run * (self.steps + 1))
        return AttackResult(best.images, goal.achieved(best.scores, aim), best.iterations)

    def _descend(self, view: View, active: ActivePairs, best: BestIterates, first: int) -> None:
        """One run: ``steps`` gradients, numbered from ``first``, and the score of the last iterate."""
        gaps, goal = checkpoints(self.steps), best.goal
        state: _RunState | None = None
        for step in range(self.steps):
            if not len(active):
                return
            scores, slope = gradient(view, goal, active.images, active.template, first + step)
            value = self._objective(goal, scores, active.aim)
            if self.loss == "hinge":
                slope = slope * (value > 0)[:, None, None, None]
            if state is None:
                state = _RunState.begin(active.images, scores, value, slope)
            else:
                state.observe(active.images, scores, value, slope)
            if self.early_stop:
                done = goal.achieved(scores, active.aim)
                if bool(done.any()):
                    gone = active.keep(done)
                    best.update(gone.rows, gone.images, scores[done])
                    active, state = active.keep(~done), state[~done]
            if step in gaps:
                active.images = state.check(active.images, gaps[step])
            best.iterations[active.where] += 1
            state.update(active, alpha=_ALPHA if step else 1.0)
        if state is not None and len(active):
            with torch.no_grad():
                scores = view.score(active.images, active.template, first + self.steps)
            state.observe(active.images, scores, self._objective(goal, scores, active.aim), state.slope)
            best.update(active.rows, state.best, state.best_scores)

    def _objective(self, goal: Goal, scores: Scores, aim: Scores) -> Tensor:
        """The objective to minimise (n,)."""
        loss = goal.loss(scores)
        return loss if self.loss == "cosine" else (loss - goal.loss(aim)).relu()
