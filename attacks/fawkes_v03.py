"""Fawkes v0.3: targeted cloaks, toward the features of another person and beyond them.

Shan et al., USENIX Security 2020, after the authors' code of July 2020.

The method: docs/methods/cloaks.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from frbench.attacks.components.cloak_optimization import Adadelta, from_tanh, result, to_tanh
from frbench.harness.core.contracts import Attack, AttackResult, Budget, Goal, Images, Scores, Template, View
from frbench.harness.core.domains import Dissimilarity, NonNegative, Positive, PositiveInt
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.quantization import Rounding, quantize
from frbench.harness.metrics.perturbation import StructuralSimilarity

_START = 1e-6  # of every value in tanh space
_DECAY = 0.8  # of the learning rate, after each third of the steps
_TINY = 1e-12


@dataclass(frozen=True)
class FawkesTargeted(Attack):
    """Minimises the feature distance to t = f(x) + 2 (f(y) - f(x)), where y is ``goal.target``.

    Attributes:
        threshold: DSSIM beyond which the penalty applies; the nearest image is returned whatever its DSSIM.
        steps: steps of Adadelta.
        lr: learning rate of Adadelta, multiplied by 0.8 after each third of the steps.
        penalty_weight: weight of the squared excess of DSSIM over the threshold.
        extractors: number of networks that the view averages; the published distance is their sum.
        rounding: of the returned images to gray levels: ``truncate`` as the original, ``nearest`` or ``none``.

    The authors' direction is the mean over a batch. Here each photo has its own, so that results do not depend on the
    batch, and features have unit length.
    """

    identity = "attack.fawkes_v03"
    version = 2

    threshold: Dissimilarity = 0.008
    steps: PositiveInt = 500
    lr: Positive = 10.0
    penalty_weight: NonNegative = 1e6
    extractors: PositiveInt = 1
    rounding: Rounding = "truncate"

    bounded = False

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Move ``pairs.probe`` toward its target, two scores per photo and step; ``budget`` is ignored."""
        gap = _TargetDistance.between(view, pairs, goal.target(pairs))
        place = to_tanh(pairs.probe.contiguous(memory_format=torch.contiguous_format))
        natural, change = from_tanh(place), torch.full_like(place, _START)
        structure, adadelta = StructuralSimilarity(natural), Adadelta(place)
        kept, least = natural, torch.full((len(pairs),), torch.inf, device=place.device)
        for step in range(self.steps):
            moving = change.detach().requires_grad_(True)
            images = from_tanh(place + moving)
            feature = self.extractors * gap.of(images, step)
            penalty = self.penalty_weight * (structure.dssim(images) - self.threshold).relu().square()
            (slope,) = torch.autograd.grad((penalty + feature).sum(), moving)
            nearer = feature.detach() < least
            least = torch.where(nearer, feature.detach(), least)
            kept = torch.where(nearer[:, None, None, None], images.detach(), kept)
            adadelta.step(change, slope, self.lr * _DECAY ** (3 * step // self.steps))
        taken = torch.full_like(pairs.index, self.steps)
        return result(view, goal, pairs, quantize(kept, self.rounding), taken)


@dataclass(frozen=True)
class _TargetDistance:
    """||t - f(x')|| / ||t|| computed from cosines, for t = 2 f(y) - f(x) of unit features.

    Attributes:
        own, other: templates of x and y.
        target_norm: squared norm of t (N,).
    """

    view: View
    own: Template
    other: Template
    target_norm: Scores

    @classmethod
    def between(cls, view: View, pairs: PairBatch, target: Images) -> _TargetDistance:
        own = view.enroll(replace(pairs, reference=pairs.probe))
        other = view.enroll(replace(pairs, reference=target))
        with torch.no_grad():
            similarity = view.score(target, own)
        return cls(view, own, other, 5 - 4 * similarity)

    def of(self, images: Images, step: int) -> Scores:
        """(N,), 0 at the target features."""
        along = 2 * self.view.score(images, self.other, step) - self.view.score(images, self.own, step)
        return (self.target_norm + 1 - 2 * along).clamp_min(_TINY).sqrt() / self.target_norm.sqrt()
