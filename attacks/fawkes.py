"""Fawkes v1.0.x: photos moved as far from themselves as a structural budget lets them, many at once.

Shan et al., USENIX Security 2020, as specs/cloaks_puface 3.2 reads the authors' later, untargeted code. Images never
interact, and the whole schedule of each is a row of tensors: no loop over images, no number read back in a step.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from frbench.attacks.components.cloak_optimization import Adadelta, Rounding, as_filed, from_tanh, result, to_tanh
from frbench.harness.core.contracts import AttackResult, Budget, Draw, Goal, Images, Template, View
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.domains import Dissimilarity, GrayLevels, NonNegative, NonNegativeInt, Positive, PositiveInt
from frbench.harness.core.face_data import PairBatch
from frbench.harness.metrics.perturbation import GRAY_LEVELS, StructuralSimilarity

_SPREAD, _KICK = 1e-4, 0.01  # of the starting noise; of the first step's signs
_UNDER, _OVER = 0.9, 1.1  # of the threshold: between them the weight rests
_HEAVIEST = 129.0  # a weight beyond this, or under its inverse, goes back to 1
_WEAK, _SAFE = 0.3, 0.015  # so near in features, the last image is kept where it is so little dissimilar
_GAIN = 1.01  # what ``patience`` steps must bring


@dataclass(frozen=True)
class Fawkes:
    """Push the features away by Adadelta in tanh space, with a penalty beyond the budget and a cap on each pixel.

    threshold: DSSIM allowed; steps; lr: of Adadelta; penalty_weight: weight of the penalty.
    max_pixel_change: gray levels that a pixel may move. At the cap it has no gradient, and stays.
    extractors: how many networks the view averages, since the published distance is their sum.
    rounding:   of the file: the original truncates; ``none`` leaves images between the gray levels.
    straight_through: our deviation: a pixel at the cap keeps its gradient.
    patience:   our deviation: an image leaves when so many steps bring less than one per cent; 0 for never.

    Distances are squared, between unit features: 2 - 2 ``goal.loss``. ``budget`` is not looked at.
    """

    identity = "attack.fawkes"
    version = 2

    threshold: Dissimilarity = 0.017
    steps: PositiveInt = 150
    lr: Positive = 15.0
    penalty_weight: NonNegative = 1e6
    max_pixel_change: GrayLevels = 15.0
    extractors: PositiveInt = 1
    rounding: Rounding = "truncate"
    straight_through: bool = False
    patience: NonNegativeInt = 0

    needs_gradient = True
    bounded = False
    stops_early = False
    batch_dependent = False

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Cloak ``pairs.probe``; what it is to leave is the reference, which for a cloak is the photo itself."""
        front = _Front.begin(view, pairs)
        images, taken = torch.empty_like(front.natural), torch.full_like(pairs.index, self.steps)
        for step in range(self.steps):
            self._step(view, goal, front, step)
            if self.patience and (step + 1) % self.patience == 0:
                staying = front.best >= _GAIN * front.noted
                left = front.rows[~staying]
                images[left], taken[left] = self._kept(front)[~staying], step + 1
                front.noted = front.best
                front = front[staying]
                if not len(front.rows):
                    break
        images[front.rows] = self._kept(front)
        return result(view, goal, pairs, as_filed(images, self.rounding), taken)

    def _step(self, view: View, goal: Goal, front: _Front, step: int) -> None:
        change = front.change.detach().requires_grad_(True)
        images = self._image(front, change)
        dissimilar = front.structure.dssim(images)
        distance = self.extractors * (2 - 2 * goal.loss(view.score(images, front.template, step)))
        loss = self.penalty_weight * (dissimilar - self.threshold).relu().square() - front.weight * distance
        (slope,) = torch.autograd.grad(loss.sum(), change)
        front.offer(images.detach(), dissimilar.detach(), distance.detach(), _OVER * self.threshold)
        front.adadelta.step(front.change, slope, self.lr)
        if step == 0:  # the original makes a new variable here, and its optimizer starts again
            front.change.sub_(slope.sign(), alpha=_KICK)
            front.adadelta.restart()
        front.weight, front.course = rescheduled(front.dissimilar, self.threshold, front.weight, front.course)

    def _image(self, front: _Front, change: Tensor) -> Images:
        """Tanh space -> images in [0, 1], capped."""
        moved = from_tanh(front.place + change) - front.natural
        capped = moved.clamp(-self.max_pixel_change / GRAY_LEVELS, self.max_pixel_change / GRAY_LEVELS)
        if self.straight_through:
            capped = moved + (capped - moved).detach()
        return front.natural + capped

    def _kept(self, front: _Front) -> Images:
        """The furthest image within the budget, or the last where that one is hardly moved."""
        last = (front.best < _WEAK) & (front.dissimilar < _SAFE) & (front.distance > front.best)
        return torch.where(last[:, None, None, None], front.last, front.kept)


def rescheduled(dissimilar: Tensor, threshold: float, weight: Tensor, course: Tensor) -> tuple[Tensor, Tensor]:
    """The weight of the features and its course (N,) each, after images of this DSSIM (N,).

    Doubled under 0.9 thresholds (course 1), halved over 1.1 (course -1), and 1 between them (course 0), where the
    course changes, and where it was past 129 or 1/129.
    """
    one = torch.ones_like(weight)
    up = (dissimilar <= _UNDER * threshold) & (weight <= _HEAVIEST)
    down = ~up & (dissimilar >= _OVER * threshold) & (weight >= 1 / _HEAVIEST)
    doubled = torch.where(course == -1, one, 2 * weight)
    halved = torch.where(course == 1, one, weight / 2)
    return torch.where(up, doubled, torch.where(down, halved, one)), up.to(weight) - down.to(weight)


@dataclass
class _Front:
    """The images still under way, a row each: where they are, how they are doing, and the best so far.

    place, natural: the photo in tanh space, and back from there. dissimilar, distance, last: of the last step.
    noted: ``best`` when patience was last asked.
    """

    rows: Tensor
    template: Template
    structure: StructuralSimilarity
    adadelta: Adadelta
    place: Tensor
    natural: Images
    change: Tensor
    weight: Tensor
    course: Tensor
    best: Tensor
    noted: Tensor
    kept: Images
    dissimilar: Tensor
    distance: Tensor
    last: Images

    @classmethod
    def begin(cls, view: View, pairs: PairBatch) -> _Front:
        place = to_tanh(pairs.probe.contiguous(memory_format=torch.contiguous_format))
        natural, rows = from_tanh(place), torch.arange(len(pairs), device=place.device)
        noise = uniform(pairs.index, Draw(view.seed, Stream.ATTACK), tuple(place.shape[1:]))
        zero = torch.zeros(len(pairs), device=place.device)
        return cls(
            rows,
            view.enroll(pairs),
            StructuralSimilarity(natural),
            Adadelta(place),
            place,
            natural,
            change=_SPREAD * (2 * noise - 1),
            weight=zero + 1,
            course=zero + 1,
            best=zero,
            noted=zero,
            kept=natural,
            dissimilar=zero,
            distance=zero,
            last=natural,
        )

    def offer(self, images: Images, dissimilar: Tensor, distance: Tensor, limit: float) -> None:
        """Keep ``images`` where they are further than any before, and within ``limit``."""
        hit = (dissimilar <= limit) & (distance > self.best)
        self.best = torch.where(hit, distance, self.best)
        self.kept = torch.where(hit[:, None, None, None], images, self.kept)
        self.dissimilar, self.distance, self.last = dissimilar, distance, images

    def __getitem__(self, rows: Tensor) -> _Front:
        return _Front(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})
