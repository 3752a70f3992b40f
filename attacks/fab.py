"""FAB on a verification score: steps onto the linearised boundary within the box, drawn towards the clean image.

Croce and Hein, ICML 2020, "Minimally distorted adversarial examples with a fast adaptive boundary attack". The two
classes of verification have one boundary, so each step linearises one margin; constants are the authors'.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from frbench.attacks.components.minimization import Pending, Smallest, begin, last_look, line_search, look
from frbench.attacks.deepfool import SIZES, STRICTLY, Norm
from frbench.harness.core.contracts import AttackResult, Budget, Draw, Goal, Images, View
from frbench.harness.core.counter_rng import Stream, normal, uniform
from frbench.harness.core.domains import Fraction, NonNegativeInt, Positive, PositiveInt
from frbench.harness.core.face_data import PairBatch

_TINY = 1e-12
_ROUNDS = 50  # of the projection, which settles in two to five
_FAR = {"l2": 4.0, "linf": 32 / 255}  # random starts of pairs without a success yet are within half of this


@dataclass(frozen=True)
class Fab:
    """Project image and clean image onto the linearised boundary, step to between the two, step back on success.

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

    needs_gradient = True
    bounded = False
    stops_early = True
    batch_dependent = False

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; ``budget`` is not looked at: an image is as small as it can be found."""
        whole, found = begin(view, pairs, goal)
        last_look(view, found, replace(whole, images=whole.clean), SIZES[self.norm], 0)
        standing = whole[found.size > 0]  # what the clean image achieves has a change of size zero
        for start in range(self.restarts if len(standing) else 0):
            front = self._started(view, pairs, standing, found, start) if start else standing
            self._descend(view, found, front, first=1 + 2 * start * self.steps)
        line_search(view, found, whole, SIZES[self.norm], self.line_search_steps, 1 + 2 * self.restarts * self.steps)
        return found.result()

    def _started(self, view: View, pairs: PairBatch, standing: Pending, found: Smallest, start: int) -> Pending:
        """``standing`` at random images, at half of the smallest change so far."""
        index, shape = pairs.index[standing.rows], tuple(standing.clean.shape[1:])
        draw, measure = Draw(view.seed, Stream.ATTACK, start), SIZES[self.norm]
        noise = normal(index, draw, shape) if self.norm == "l2" else 2 * uniform(index, draw, shape) - 1
        noise = noise.contiguous(memory_format=torch.channels_last)
        reach = found.size[standing.rows].clamp_max(_FAR[self.norm]) / 2
        length = reach / measure.size(noise, torch.zeros_like(noise)).clamp_min(_TINY)
        return replace(standing, images=(standing.clean + noise * _column(length)).clamp_(0, 1))

    def _descend(self, view: View, found: Smallest, front: Pending, first: int) -> None:
        """One start: ``steps`` gradients and as many scores, numbered from ``first``."""
        measure = SIZES[self.norm]
        for step in range(first, first + 2 * self.steps, 2):
            scores, gap, slope = look(view, found.goal, front, step)
            found.iterations[front.rows] += 1
            found.offer(front.rows, front.images, scores, measure.size(front.images, front.clean))
            front = replace(front, images=self._stepped(front, gap + STRICTLY, slope))
            success = last_look(view, found, front, measure, step + 1)
            inside = torch.lerp(front.clean, front.images, self.beta)
            front = replace(front, images=torch.where(_column(success), inside, front.images))

    def _stepped(self, front: Pending, gap: Tensor, slope: Tensor) -> Images:
        """Between the projections of the image and of the clean image, nearer to the former."""
        at_clean = gap + (slope * (front.clean - front.images)).sum(dim=(1, 2, 3))
        near, far = (
            onto_plane(images, each, slope, self.norm)
            for images, each in ((front.images, gap), (front.clean, at_clean))
        )
        zero = torch.zeros_like(near)
        sizes = [SIZES[self.norm].size(change, zero).clamp_min(_TINY) for change in (near, far)]
        share = _column((sizes[0] / (sizes[0] + sizes[1])).clamp_max(self.alpha_max))
        moved = torch.lerp(front.images, front.clean, share)
        return moved.add_(torch.lerp(near, far, share), alpha=self.eta).clamp_(0, 1)


def onto_plane(images: Images, gap: Tensor, slope: Tensor, norm: Norm) -> Tensor:
    """The smallest change (N, 3, H, W) in ``norm`` by which a linear loss of this ``slope`` sinks by ``gap`` (N,).

    Images stay in [0, 1]: where that does not allow as much, all that it allows. No slope, no change.

    Along the solution a pixel moves by ``reach * unit`` until the box stops it, and the loss sinks by a concave,
    piecewise linear function of ``reach``. Newton's method from zero therefore reaches the exact ``reach`` from below,
    in as many rounds as there are changes in which pixels are stopped, and without sorting them.
    """
    downhill = slope * _column(gap.sign())
    weight, room = downhill.abs(), torch.where(downhill > 0, images, 1 - images)
    unit = weight if norm == "l2" else (weight > 0).to(weight.dtype)
    pull, most, wanted = weight * unit, weight * room, gap.abs()
    reach = torch.zeros_like(gap)
    for _ in range(_ROUNDS):
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
