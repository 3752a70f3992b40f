"""DeepFool on a verification score: Newton steps to where the score crosses the threshold, in L2 or in L-inf.

Moosavi-Dezfooli, Fawzi, Frossard, CVPR 2016; exact for a scalar margin (specs/ensemble_attacks 6.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from frbench.attacks.components.minimization import begin, last_look, line_search, look
from frbench.harness.core.contracts import AttackResult, Budget, Goal, Images, View
from frbench.harness.core.domains import NonNegative, NonNegativeInt, PositiveInt
from frbench.harness.core.face_data import PairBatch
from frbench.harness.threat_model.budgets import L2, Linf

_TINY = 1e-12
_REACH = 16 / 255  # of a step, as root mean square or as maximum: far from the threshold a slope misleads
STRICTLY = 1e-6  # beyond the aim: a score that only meets it may not count
Norm = Literal["l2", "linf"]
SIZES: Mapping[Norm, Budget] = {"l2": L2(1.0), "linf": Linf(1.0)}  # how each norm measures a change


@dataclass(frozen=True)
class DeepFool:
    """Step to the nearest point of the plane on which the linearised score meets its aim, until it is met.

    norm:      in which a step is smallest: ``l2`` or ``linf``.
    steps:     at most; a pair that has arrived leaves the batch.
    overshoot: beyond the plane, as a share of each step.
    line_search_steps: bisections between the clean and the found image, one score each.
    """

    identity = "attack.deepfool"
    version = 1

    norm: Norm = "l2"
    steps: PositiveInt = 50
    overshoot: NonNegative = 0.02
    line_search_steps: NonNegativeInt = 8

    needs_gradient = True
    bounded = False
    stops_early = True
    batch_dependent = False

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; ``budget`` is not looked at: an image is as small as it can be found."""
        whole, found = begin(view, pairs, goal)
        front, measure = whole, SIZES[self.norm]
        for step in range(self.steps):
            if not len(front):
                break
            scores, gap, slope = look(view, goal, front, step)
            found.iterations[front.rows] += 1
            going = ~found.offer(front.rows, front.images, scores, measure.size(front.images, front.clean))
            moved = newton(front.images, gap * (1 + self.overshoot) + STRICTLY, slope, self.norm)
            front = replace(front, images=moved)[going]
        if len(front):
            last_look(view, found, front, measure, self.steps)
        line_search(view, found, whole, measure, self.line_search_steps, self.steps + 1)
        return found.result()


def newton(images: Images, gap: Tensor, slope: Tensor, norm: str) -> Images:
    """``images`` (N, 3, H, W) moved against ``slope`` until a linear loss has sunk by ``gap`` (N,), within [0, 1].

    Pixels that the box holds where they are are left out of the account. No slope, no step.
    """
    held = ((images <= 0) & (slope > 0)) | ((images >= 1) & (slope < 0))
    slope = slope.masked_fill(held, 0)
    direction = slope if norm == "l2" else slope.sign()
    descent = (direction * slope).sum(dim=(1, 2, 3)).clamp_min(_TINY)
    longest = _REACH / direction.square().mean(dim=(1, 2, 3)).sqrt().clamp_min(_TINY)
    length = torch.minimum(gap.clamp_min(0) / descent, longest)
    return torch.addcmul(images, direction, length[:, None, None, None], value=-1).clamp_(0, 1)
