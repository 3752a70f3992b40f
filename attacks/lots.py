"""LOTS: move an image until its features resemble somebody else's, whatever size of change that takes.

Rozsa, Guenther, Boult, IJCB 2017, as specs/ensemble_attacks 5 reads it for verification: by the largest pixel, by
sign, inside a growing ball, and as Carlini and Wagner's attack; all of them towards ``goal.target``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from frbench.attacks.components.minimization import begin, last_look, look
from frbench.attacks.components.threshold_path import Firsts
from frbench.harness.core.contracts import (
    Attack,
    AttackResult,
    Budget,
    Draw,
    Goal,
    Images,
    Scores,
    Template,
    Verifier,
    View,
)
from frbench.harness.core.domains import PixelChange, PositiveInt
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.multi_threshold import MultiThresholdRun, multi_threshold_run
from frbench.harness.core.verifiers import Wrapping
from frbench.harness.threat_model.budgets import L2

_L2 = L2(1.0)
_TINY = 1e-12
Directions = dict[str, Callable[[Tensor], Tensor]]
_DIRECTIONS: Directions = {
    "max": lambda slope: slope / slope.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(_TINY),
    "sign": torch.sign,
}


@dataclass(frozen=True)
class Walk:
    """Small steps down the slope until the goal is achieved, without a limit but [0, 1].

    step:      how far the strongest pixel moves in a step.
    steps:     at most; a pair that has arrived leaves the batch.
    direction: ``max`` scales the slope by its largest entry, ``sign`` moves all pixels alike.
    """

    identity = "attack.lots_descent"
    version = 1

    step: PixelChange = 1 / 255
    steps: PositiveInt = 500
    direction: Literal["max", "sign"] = "max"

    needs_gradient = True
    bounded = False
    stops_early = True
    batch_dependent = False

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; ``budget`` is not looked at."""
        front, found = begin(view, pairs, goal)
        for step in range(self.steps):
            if not len(front):
                break
            scores, _, slope = look(view, goal, front, step)
            found.iterations[front.rows] += 1
            going = ~found.offer(front.rows, front.images, scores, _L2.size(front.images, front.clean))
            front = replace(front, images=self._moved(front.images, slope))[going]
        if len(front):
            last_look(view, found, front, _L2, self.steps)
        return found.result()

    @property
    def multi_threshold_run(self) -> MultiThresholdRun:
        return self._run_past

    def _run_past(self, view: View, pairs: PairBatch, goal: Goal, thresholds: Scores) -> list[AttackResult]:
        """See ``MultiThresholdRun``."""
        front, _ = begin(view, pairs, goal)
        found = Firsts(goal, pairs.probe, thresholds)
        for step in range(self.steps):
            if not len(front):
                break
            scores, _, slope = look(view, goal, front, step)
            found.steps[:, front.rows] += ~found.reached[:, front.rows]
            going = found.meet(front.rows, front.images, scores)
            front = replace(front, images=self._moved(front.images, slope))[going]
        if len(front):
            with torch.no_grad():
                found.meet(front.rows, front.images, view.score(front.images, front.template, self.steps))
        return found.results()

    def _moved(self, images: Images, slope: Tensor) -> Images:
        return (images - self.step * _DIRECTIONS[self.direction](slope)).clamp_(0, 1)


@dataclass(frozen=True)
class Lots:
    """``inner`` with its slopes turned towards the target's features; success stays that of the pair's own goal.

    To impersonate is to resemble the reference, which ``inner`` does already; to dodge is to resemble the decoy.
    """

    identity = "attack.lots"
    version = 1

    inner: Attack

    needs_gradient = True

    @property
    def bounded(self) -> bool:
        return self.inner.bounded

    @property
    def stops_early(self) -> bool:
        return self.inner.stops_early

    @property
    def batch_dependent(self) -> bool:
        return self.inner.batch_dependent

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        return self.inner(_luring(view, pairs, goal), pairs, goal, budget)

    @property
    def multi_threshold_run(self) -> MultiThresholdRun | None:
        """That of ``inner``, turned towards the target."""
        run = multi_threshold_run(self.inner)
        if run is None:
            return None
        return lambda view, pairs, goal, thresholds: run(_luring(view, pairs, goal), pairs, goal, thresholds)


def _luring(view: View, pairs: PairBatch, goal: Goal) -> View:
    """``view``, its slopes towards the goal's target."""
    target = goal.target(pairs)
    if target is pairs.reference:
        return view
    return replace(view, verifier=Lured(view.verifier, goal, target, pairs.index))


@dataclass(frozen=True)
class Lured(Wrapping):
    """``verifier`` with its own scores, whose slope yet leads down the goal's loss by the way to the ``target``.

    target: images (N, 3, H, W) to resemble; index: (N,) the pairs that they belong to.
    """

    identity = "verifier.toward_target"
    version = 1

    verifier: Verifier
    goal: Goal
    target: Images
    index: Tensor

    def enroll(self, reference: Images, index: Tensor, draw: Draw) -> Template:
        """References and targets side by side: vectors (N, 2, ...)."""
        rows = (index[:, None] == self.index).to(torch.int64).argmax(dim=1)
        both = [self.verifier.enroll(images, index, draw).vectors for images in (reference, self.target[rows])]
        return Template(torch.stack(both, dim=1), index)

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        own, other = (Template(template.vectors[:, side], template.index) for side in (0, 1))
        with torch.no_grad():
            scores = self.verifier.score(probe, own, draw)
        if not (torch.is_grad_enabled() and probe.requires_grad):
            return scores
        pull = -self.goal.loss(self.verifier.score(probe, other, draw))  # resembling the target lowers the loss
        return scores + (pull - pull.detach())
