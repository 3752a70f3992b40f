"""Fawkes v0.3: a photo moved towards somebody else, and as far again beyond.

Shan et al., USENIX Security 2020, as specs/cloaks_puface 3.3 reads the authors' code of July 2020.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from frbench.attacks.components.cloak_optimization import Adadelta, Rounding, as_filed, from_tanh, result, to_tanh
from frbench.harness.core.contracts import AttackResult, Budget, Goal, Images, Scores, Template, View
from frbench.harness.core.domains import Dissimilarity, NonNegative, Positive, PositiveInt
from frbench.harness.core.face_data import PairBatch
from frbench.harness.metrics.perturbation import StructuralSimilarity

_START = 1e-6  # of every value in tanh space
_DECAY = 0.8  # of the rate, each third
_TINY = 1e-12


@dataclass(frozen=True)
class FawkesTargeted:
    """Approach t = f(x) + 2 (f(y) - f(x)), where y is ``goal.target``: for a cloak, a photo of somebody else.

    threshold: DSSIM beyond which the penalty sets in; the nearest image is kept whatever its DSSIM.
    penalty_weight: weight of the penalty. steps; lr: of Adadelta, times 0.8 each third.
    extractors, rounding: as for ``Fawkes``.

    The authors' direction is the mean over a batch; here each photo has its own, so that batches do not matter, and
    features are of unit length, of several networks side by side. ``budget`` is not looked at.
    """

    identity = "attack.fawkes_v03"
    version = 2

    threshold: Dissimilarity = 0.008
    steps: PositiveInt = 500
    lr: Positive = 10.0
    penalty_weight: NonNegative = 1e6
    extractors: PositiveInt = 1
    rounding: Rounding = "truncate"

    needs_gradient = True
    bounded = False
    stops_early = False
    batch_dependent = False

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Cloak ``pairs.probe``; two scores of each photo a step, and one of its target before."""
        gap = _Gap.between(view, pairs, goal.target(pairs))
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
        return result(view, goal, pairs, as_filed(kept, self.rounding), taken)


@dataclass(frozen=True)
class _Gap:
    """||t - f(x')|| / ||t|| from cosines alone: t = 2 f(y) - f(x) of unit features.

    view: how x and y look as references; own, other: their templates. reach: ||t|| squared (N,).
    """

    view: View
    own: Template
    other: Template
    reach: Scores

    @classmethod
    def between(cls, view: View, pairs: PairBatch, target: Images) -> _Gap:
        own = view.enroll(replace(pairs, reference=pairs.probe))
        other = view.enroll(replace(pairs, reference=target))
        with torch.no_grad():
            alike = view.score(target, own)
        return cls(view, own, other, 5 - 4 * alike)

    def of(self, images: Images, step: int) -> Scores:
        """(N,), 0 on the target features themselves."""
        along = 2 * self.view.score(images, self.other, step) - self.view.score(images, self.own, step)
        return (self.reach + 1 - 2 * along).clamp_min(_TINY).sqrt() / self.reach.sqrt()
