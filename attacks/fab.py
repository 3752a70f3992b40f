"""FAB on a verification score: steps onto the linearized boundary within the box, biased toward the clean image.

Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack", ICML 2020, with the
constants of the authors. The two classes of verification have one boundary, so each step linearizes one margin.

The method: docs/methods/minimal_perturbation_attacks.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from frbench.attacks.components.minimization import (
    PendingPairs,
    SmallestPerturbations,
    begin,
    line_search,
    linearize,
    score_images,
)
from frbench.attacks.deepfool import SIZES, STRICTLY, Norm
from frbench.harness.core.contracts import Attack, AttackResult, Budget, Draw, Goal, Images, View
from frbench.harness.core.counter_rng import Stream, normal, uniform
from frbench.harness.core.domains import Fraction, NonNegativeInt, Positive, PositiveInt
from frbench.harness.core.face_data import PairBatch

_TINY = 1e-12
_MAX_ITERATIONS = 50  # of the projection, which converges in two to five
_FAR = {"l2": 4.0, "linf": 32 / 255}  # random starts of pairs without a success yet lie within half of this


@dataclass(frozen=True)
class Fab(Attack):
    """Projects image and clean image onto the linearized boundary and steps between the two projections.

    Attributes:
        norm: norm of the perturbation that is minimised, ``l2`` or ``linf``.
        steps: steps per run, each of one gradient and one more score.
        restarts: runs; the first starts from the clean image, the others from random images within half the norm of
            the smallest adversarial perturbation so far.
        alpha_max: upper bound on the weight of the clean image's projection in a step.
        eta: extrapolation factor of both projections.
        beta: after a success, fraction of the perturbation from which the search continues.
        line_search_steps: bisections between the clean and the adversarial image at the end, one score each.
    """

    identity = "attack.fab"
    version = 1

    norm: Norm = "linf"
    steps: PositiveInt = 20
    restarts: PositiveInt = 1
    alpha_max: Fraction = 0.1
    eta: Positive = 1.05
    beta: Fraction = 0.9
    line_search_steps: NonNegativeInt = 8

    bounded = False
    stops_early = True

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; ``budget`` is ignored."""
        whole, found = begin(view, pairs, goal)
        score_images(view, found, replace(whole, images=whole.clean), SIZES[self.norm], 0)
        pending = whole[found.size > 0]  # pairs that the clean image does not achieve
        for run in range(self.restarts if len(pending) else 0):
            active = self._restarted(view, pairs, pending, found, run) if run else pending
            self._descend(view, found, active, first=1 + 2 * run * self.steps)
        line_search(view, found, whole, SIZES[self.norm], self.line_search_steps, 1 + 2 * self.restarts * self.steps)
        return found.result()

    def _restarted(
        self, view: View, pairs: PairBatch, pending: PendingPairs, found: SmallestPerturbations, run: int
    ) -> PendingPairs:
        """``pending`` at random images at half the size of the smallest perturbation so far."""
        index, shape = pairs.index[pending.rows], tuple(pending.clean.shape[1:])
        draw, measure = Draw(view.seed, Stream.ATTACK, run), SIZES[self.norm]
        noise = normal(index, draw, shape) if self.norm == "l2" else 2 * uniform(index, draw, shape) - 1
        noise = noise.contiguous(memory_format=torch.channels_last)
        reach = found.size[pending.rows].clamp_max(_FAR[self.norm]) / 2
        length = reach / measure.size(noise, torch.zeros_like(noise)).clamp_min(_TINY)
        return replace(pending, images=(pending.clean + noise * _column(length)).clamp_(0, 1))

    def _descend(self, view: View, found: SmallestPerturbations, active: PendingPairs, first: int) -> None:
        """One run: ``steps`` gradients and as many scores, numbered from ``first``."""
        measure = SIZES[self.norm]
        for step in range(first, first + 2 * self.steps, 2):
            scores, gap, slope = linearize(view, found.goal, active, step)
            found.iterations[active.rows] += 1
            found.update(active.rows, active.images, scores, measure.size(active.images, active.clean))
            active = replace(active, images=self._stepped(active, gap + STRICTLY, slope))
            success = score_images(view, found, active, measure, step + 1)
            inside = torch.lerp(active.clean, active.images, self.beta)
            active = replace(active, images=torch.where(_column(success), inside, active.images))

    def _stepped(self, active: PendingPairs, gap: Tensor, slope: Tensor) -> Images:
        """A convex combination of the projections of the image and of the clean image."""
        at_clean = gap + (slope * (active.clean - active.images)).sum(dim=(1, 2, 3))
        near, far = (
            onto_plane(images, each, slope, self.norm)
            for images, each in ((active.images, gap), (active.clean, at_clean))
        )
        zero = torch.zeros_like(near)
        sizes = [SIZES[self.norm].size(change, zero).clamp_min(_TINY) for change in (near, far)]
        share = _column((sizes[0] / (sizes[0] + sizes[1])).clamp_max(self.alpha_max))
        moved = torch.lerp(active.images, active.clean, share)
        return moved.add_(torch.lerp(near, far, share), alpha=self.eta).clamp_(0, 1)


def onto_plane(images: Images, gap: Tensor, slope: Tensor, norm: Norm) -> Tensor:
    """The smallest change (N, 3, H, W) in ``norm`` by which a linear loss with gradient ``slope`` decreases by ``gap``.

    Images stay in [0, 1]; where that does not allow the whole ``gap`` (N,), the change is the largest possible
    decrease. A zero gradient gives no change.

    Along the solution a pixel moves by ``reach * unit`` until it is clipped, and the loss decreases by a concave,
    piecewise linear function of ``reach``. Newton's method from zero therefore converges to the exact ``reach`` from
    below, in as many iterations as the set of clipped pixels changes, without sorting them.
    """
    downhill = slope * _column(gap.sign())
    weight, room = downhill.abs(), torch.where(downhill > 0, images, 1 - images)
    unit = weight if norm == "l2" else (weight > 0).to(weight.dtype)
    pull, most, wanted = weight * unit, weight * room, gap.abs()
    reach = torch.zeros_like(gap)
    for _ in range(_MAX_ITERATIONS):
        free = _column(reach) * unit < room
        rest = wanted - most.masked_fill(free, 0).sum(dim=(1, 2, 3))
        moving = pull.masked_fill(~free, 0).sum(dim=(1, 2, 3))
        further = torch.where(moving > 0, rest / moving, reach).maximum(reach)
        if torch.equal(further, reach):
            break
        reach = further
    return torch.minimum(_column(reach) * unit, room).mul_(-downhill.sign())


def _column(values: Tensor) -> Tensor:
    return values[:, None, None, None]
