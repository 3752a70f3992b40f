"""LOTS: perturb an image until its features resemble those of another person, without a limit on the perturbation.

Rozsa, Guenther, Boult, "LOTS about attacking deep features", IJCB 2017.

The method: docs/methods/minimal_perturbation_attacks.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from frbench.attacks.components.minimization import begin, linearize, score_images
from frbench.attacks.components.threshold_path import FirstPassing
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
_DIRECTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "max": lambda slope: slope / slope.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(_TINY),
    "sign": torch.sign,
}


@dataclass(frozen=True)
class LotsDescent(Attack):
    """Small gradient steps until the goal is achieved, without a limit except [0, 1].

    Attributes:
        step_size: change of the most changed pixel in a step, in [0, 1].
        steps: steps at most; a pair that achieves the goal leaves the batch.
        direction: ``max`` divides the gradient by its largest entry, as in the paper; ``sign`` takes its sign.
    """

    identity = "attack.lots_descent"
    version = 1

    step_size: PixelChange = 1 / 255
    steps: PositiveInt = 500
    direction: Literal["max", "sign"] = "max"

    bounded = False
    stops_early = True

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; ``budget`` is ignored."""
        active, found = begin(view, pairs, goal)
        for step in range(self.steps):
            if not len(active):
                break
            scores, _, slope = linearize(view, goal, active, step)
            found.iterations[active.rows] += 1
            going = ~found.update(active.rows, active.images, scores, _L2.size(active.images, active.clean))
            active = replace(active, images=self._stepped(active.images, slope))[going]
        if len(active):
            score_images(view, found, active, _L2, self.steps)
        return found.result()

    @property
    def multi_threshold_run(self) -> MultiThresholdRun:
        return self._run_past

    def _run_past(self, view: View, pairs: PairBatch, goal: Goal, thresholds: Scores) -> list[AttackResult]:
        """See ``MultiThresholdRun``."""
        active, _ = begin(view, pairs, goal)
        found = FirstPassing(goal, pairs.probe, thresholds)
        for step in range(self.steps):
            if not len(active):
                break
            scores, _, slope = linearize(view, goal, active, step)
            found.steps[:, active.rows] += ~found.reached[:, active.rows]
            going = found.record(active.rows, active.images, scores)
            active = replace(active, images=self._stepped(active.images, slope))[going]
        if len(active):
            with torch.no_grad():
                found.record(active.rows, active.images, view.score(active.images, active.template, self.steps))
        return found.results()

    def _stepped(self, images: Images, slope: Tensor) -> Images:
        return (images - self.step_size * _DIRECTIONS[self.direction](slope)).clamp_(0, 1)


@dataclass(frozen=True)
class Lots(Attack):
    """Another attack with its gradients turned toward the target's features; success stays that of the pair's goal.

    For impersonation the target is the reference, toward which ``inner`` moves anyway; for dodging it is the decoy.

    Attributes:
        inner: the attack that is run.
    """

    identity = "attack.lots"
    version = 1

    inner: Attack

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
        return self.inner(_toward_target(view, pairs, goal), pairs, goal, budget)

    @property
    def multi_threshold_run(self) -> MultiThresholdRun | None:
        """That of ``inner``, toward the target."""
        run = multi_threshold_run(self.inner)
        if run is None:
            return None
        return lambda view, pairs, goal, thresholds: run(_toward_target(view, pairs, goal), pairs, goal, thresholds)


def _toward_target(view: View, pairs: PairBatch, goal: Goal) -> View:
    """``view`` with gradients toward the goal's target."""
    target = goal.target(pairs)
    if target is pairs.reference:
        return view
    return replace(view, verifier=TowardTarget(view.verifier, goal, target, pairs.index))


@dataclass(frozen=True)
class TowardTarget(Wrapping):
    """Scores of ``verifier`` whose gradient is that of the similarity to ``target``, signed so as to lower the loss.

    Attributes:
        target: images (N, 3, H, W) to resemble.
        index: (N,) numbers of the pairs that the targets belong to.
    """

    identity = "verifier.toward_target"
    version = 1

    verifier: Verifier
    goal: Goal
    target: Images
    index: Tensor

    def enroll(self, reference: Images, index: Tensor, draw: Draw) -> Template:
        """Reference and target of each pair side by side: vectors (N, 2, ...)."""
        rows = (index[:, None] == self.index).to(torch.int64).argmax(dim=1)
        both = [self.verifier.enroll(images, index, draw).vectors for images in (reference, self.target[rows])]
        return Template(torch.stack(both, dim=1), index)

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        own, other = (Template(template.vectors[:, side], template.index) for side in (0, 1))
        with torch.no_grad():
            scores = self.verifier.score(probe, own, draw)
        if not (torch.is_grad_enabled() and probe.requires_grad):
            return scores
        similarity = -self.goal.loss(self.verifier.score(probe, other, draw))
        return scores + (similarity - similarity.detach())
