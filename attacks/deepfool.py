"""DeepFool on a verification score: Newton steps to the threshold, in L2 or L-inf.

Moosavi-Dezfooli, Fawzi, Frossard, CVPR 2016, Algorithm 1 for a binary classifier.

The method: docs/methods/minimal_perturbation_attacks.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from frbench.attacks.components.minimization import begin, line_search, linearize, score_images
from frbench.harness.core.contracts import Attack, AttackResult, Budget, Goal, Images, View
from frbench.harness.core.domains import NonNegative, NonNegativeInt, PositiveInt
from frbench.harness.core.face_data import PairBatch
from frbench.harness.threat_model.budgets import L2, Linf

_TINY = 1e-12
_MAX_STEP = 16 / 255  # RMS or maximum: the linearization is only valid near the image
STRICTLY = 1e-6  # beyond the aim, since a score equal to it may not be a success
Norm = Literal["l2", "linf"]
SIZES: Mapping[Norm, Budget] = {"l2": L2(1.0), "linf": Linf(1.0)}  # the size of a perturbation in each norm


@dataclass(frozen=True)
class DeepFool(Attack):
    """Steps to the nearest point of the hyperplane on which the linearized score equals its aim, until it is passed.

    Attributes:
        norm: norm in which a step is smallest, ``l2`` or ``linf``.
        steps: steps at most; a pair that passes its aim leaves the batch.
        overshoot: fraction of each step that is added to it.
        line_search_steps: bisections between the clean and the adversarial image at the end, one score each.
    """

    identity = "attack.deepfool"
    version = 1

    norm: Norm = "l2"
    steps: PositiveInt = 50
    overshoot: NonNegative = 0.02
    line_search_steps: NonNegativeInt = 8

    bounded = False
    stops_early = True

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; ``budget`` is ignored."""
        whole, found = begin(view, pairs, goal)
        active, measure = whole, SIZES[self.norm]
        for step in range(self.steps):
            if not len(active):
                break
            scores, gap, slope = linearize(view, goal, active, step)
            found.iterations[active.rows] += 1
            going = ~found.update(active.rows, active.images, scores, measure.size(active.images, active.clean))
            moved = newton(active.images, gap * (1 + self.overshoot) + STRICTLY, slope, self.norm)
            active = replace(active, images=moved)[going]
        if len(active):
            score_images(view, found, active, measure, self.steps)
        line_search(view, found, whole, measure, self.line_search_steps, self.steps + 1)
        return found.result()


def newton(images: Images, gap: Tensor, slope: Tensor, norm: str) -> Images:
    """``images`` (N, 3, H, W) moved against ``slope`` until a linear loss has decreased by ``gap`` (N,), within [0, 1].

    Pixels at 0 or 1 that would leave the range do not count. A zero gradient gives no step.
    """
    clipped = ((images <= 0) & (slope > 0)) | ((images >= 1) & (slope < 0))
    slope = slope.masked_fill(clipped, 0)
    direction = slope if norm == "l2" else slope.sign()
    descent = (direction * slope).sum(dim=(1, 2, 3)).clamp_min(_TINY)
    longest = _MAX_STEP / direction.square().mean(dim=(1, 2, 3)).sqrt().clamp_min(_TINY)
    length = torch.minimum(gap.clamp_min(0) / descent, longest)
    return torch.addcmul(images, direction, length[:, None, None, None], value=-1).clamp_(0, 1)
