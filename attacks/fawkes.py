"""Fawkes v1.0.x: untargeted cloaks under a DSSIM budget, batched.

Shan et al., "Fawkes: protecting privacy against unauthorized deep learning models", USENIX Security 2020, after the
authors' code of version 1.0. The penalty schedule of each image is a row of tensors, so images never interact.

The method: docs/methods/cloaks.md.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from frbench.attacks.components.cloak_optimization import Adadelta, from_tanh, result, to_tanh
from frbench.harness.core.contracts import Attack, AttackResult, Budget, Draw, Goal, Images, Template, View
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.domains import Dissimilarity, GrayLevels, NonNegative, NonNegativeInt, Positive, PositiveInt
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.quantization import Rounding, quantize
from frbench.harness.metrics.perturbation import GRAY_LEVELS, StructuralSimilarity

_NOISE_SIZE, _FIRST_SIGN_STEP = 1e-4, 0.01  # in tanh space
_UNDER, _OVER = 0.9, 1.1  # of the threshold: between them the weight is 1
_MAX_WEIGHT = 129.0  # a weight above this, or below its inverse, is reset to 1
_WEAK, _SAFE = 0.3, 0.015  # below this feature distance, the last image is returned if its DSSIM is below the second
_MIN_GAIN = 1.01  # in ``patience`` steps


@dataclass(frozen=True)
class Fawkes(Attack):
    """Maximises the feature distance by Adadelta in tanh space, with a penalty on DSSIM beyond the threshold.

    Attributes:
        threshold: DSSIM allowed.
        steps: steps of Adadelta.
        lr: learning rate of Adadelta.
        penalty_weight: weight of the squared excess of DSSIM over the threshold.
        max_pixel_change: largest change of a pixel in gray levels; a pixel that reaches it has no gradient.
        extractors: number of networks that the view averages; the published distance is their sum.
        rounding: of the returned images to gray levels: ``truncate`` as the original, ``nearest`` or ``none``.
        straight_through: not in the original: a pixel at ``max_pixel_change`` keeps its gradient.
        patience: not in the original: drop an image when this many steps improve the distance by less than one per
            cent; 0 for never.

    Distances are squared, between unit features: 2 - 2 ``goal.loss``.
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

    bounded = False

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Move ``pairs.probe`` away from its reference, for a cloak the photo itself; ``budget`` is ignored."""
        active = _ActivePhotos.begin(view, pairs)
        images, taken = torch.empty_like(active.natural), torch.full_like(pairs.index, self.steps)
        for step in range(self.steps):
            self._step(view, goal, active, step)
            if self.patience and (step + 1) % self.patience == 0:
                improving = active.best >= _MIN_GAIN * active.checked
                done = active.rows[~improving]
                images[done], taken[done] = self._chosen(active)[~improving], step + 1
                active.checked = active.best
                active = active[improving]
                if not len(active.rows):
                    break
        images[active.rows] = self._chosen(active)
        return result(view, goal, pairs, quantize(images, self.rounding), taken)

    def _step(self, view: View, goal: Goal, active: _ActivePhotos, step: int) -> None:
        change = active.change.detach().requires_grad_(True)
        images = self._image(active, change)
        dissimilar = active.structure.dssim(images)
        distance = self.extractors * (2 - 2 * goal.loss(view.score(images, active.template, step)))
        loss = self.penalty_weight * (dissimilar - self.threshold).relu().square() - active.weight * distance
        (slope,) = torch.autograd.grad(loss.sum(), change)
        active.update(images.detach(), dissimilar.detach(), distance.detach(), _OVER * self.threshold)
        active.adadelta.step(active.change, slope, self.lr)
        if step == 0:  # the original creates a new variable here, and with it a new optimizer state
            active.change.sub_(slope.sign(), alpha=_FIRST_SIGN_STEP)
            active.adadelta.restart()
        active.weight, active.trend = rescheduled(active.dissimilar, self.threshold, active.weight, active.trend)

    def _image(self, active: _ActivePhotos, change: Tensor) -> Images:
        """Tanh space -> images in [0, 1], within ``max_pixel_change``."""
        moved = from_tanh(active.parameters + change) - active.natural
        capped = moved.clamp(-self.max_pixel_change / GRAY_LEVELS, self.max_pixel_change / GRAY_LEVELS)
        if self.straight_through:
            capped = moved + (capped - moved).detach()
        return active.natural + capped

    def _chosen(self, active: _ActivePhotos) -> Images:
        """The most distant image within the budget; where that is weak, the last one if it is better."""
        last = (active.best < _WEAK) & (active.dissimilar < _SAFE) & (active.distance > active.best)
        return torch.where(last[:, None, None, None], active.last, active.furthest)


def rescheduled(dissimilar: Tensor, threshold: float, weight: Tensor, trend: Tensor) -> tuple[Tensor, Tensor]:
    """Weight of the feature distance and its trend, (n,) each, after images of this DSSIM (n,).

    The weight doubles below 0.9 thresholds (trend 1) and halves above 1.1 (trend -1). It is reset to 1 between them
    (trend 0), where the trend reverses, and where it was above 129 or below 1/129.
    """
    one = torch.ones_like(weight)
    up = (dissimilar <= _UNDER * threshold) & (weight <= _MAX_WEIGHT)
    down = ~up & (dissimilar >= _OVER * threshold) & (weight >= 1 / _MAX_WEIGHT)
    doubled = torch.where(trend == -1, one, 2 * weight)
    halved = torch.where(trend == 1, one, weight / 2)
    return torch.where(up, doubled, torch.where(down, halved, one)), up.to(weight) - down.to(weight)


@dataclass
class _ActivePhotos:
    """The images still being optimised, one row each.

    Attributes:
        parameters, natural: the photo in tanh space, and mapped back.
        change: the cloak in tanh space.
        weight, trend: of the feature distance, see ``rescheduled``.
        best, furthest: largest feature distance within the budget, and its image.
        checked: ``best`` when patience was last checked.
        dissimilar, distance, last: DSSIM, feature distance and image of the last step.
    """

    rows: Tensor
    template: Template
    structure: StructuralSimilarity
    adadelta: Adadelta
    parameters: Tensor
    natural: Images
    change: Tensor
    weight: Tensor
    trend: Tensor
    best: Tensor
    checked: Tensor
    furthest: Images
    dissimilar: Tensor
    distance: Tensor
    last: Images

    @classmethod
    def begin(cls, view: View, pairs: PairBatch) -> _ActivePhotos:
        parameters = to_tanh(pairs.probe.contiguous(memory_format=torch.contiguous_format))
        natural, rows = from_tanh(parameters), torch.arange(len(pairs), device=parameters.device)
        noise = uniform(pairs.index, Draw(view.seed, Stream.ATTACK), tuple(parameters.shape[1:]))
        zero = torch.zeros(len(pairs), device=parameters.device)
        return cls(
            rows,
            view.enroll(pairs),
            StructuralSimilarity(natural),
            Adadelta(parameters),
            parameters,
            natural,
            change=_NOISE_SIZE * (2 * noise - 1),
            weight=zero + 1,
            trend=zero + 1,
            best=zero,
            checked=zero,
            furthest=natural,
            dissimilar=zero,
            distance=zero,
            last=natural,
        )

    def update(self, images: Images, dissimilar: Tensor, distance: Tensor, limit: float) -> None:
        """Keep ``images`` that are more distant than any before and within the DSSIM ``limit``."""
        hit = (dissimilar <= limit) & (distance > self.best)
        self.best = torch.where(hit, distance, self.best)
        self.furthest = torch.where(hit[:, None, None, None], images, self.furthest)
        self.dissimilar, self.distance, self.last = dissimilar, distance, images

    def __getitem__(self, rows: Tensor) -> _ActivePhotos:
        return _ActivePhotos(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})
