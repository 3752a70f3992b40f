"""LowKey: signed steps that move a photo's features, sharp and smoothed, away from themselves.

Cherepanova et al., ICLR 2021, as specs/cloaks_puface 4 reads the authors' code and its batched variant on ready crops.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from frbench.attacks.components.cloak_optimization import Rounding, as_filed, result
from frbench.attacks.components.perceptual_distance import Likeness
from frbench.harness.core.contracts import AttackResult, Budget, Draw, Goal, Images, View
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.domains import BlurSigma, NonNegative, OddPixels, PixelChange, PixelNoise, PositiveInt
from frbench.harness.core.face_data import PairBatch


@dataclass(frozen=True)
class LowKey:
    """Ascend the mean squared distance of features, less ``weight`` times how different the image looks.

    likeness:   what looks different, per image.
    weight:     of it, against a mean over ``dimensions`` (a sum over them would want 512 times as much).
    dimensions: of the published features; a constant, whatever the view's networks have.
    steps, step: signed steps on [0, 1]; start: reach of the uniform noise before the first.
    kernel, sigma: of the Gaussian that the features must survive, which is half of the objective.
    rounding:   of the file: to the nearest level; ``truncate`` or ``none`` as for ``Fawkes``.

    No step is cut short, so a value moves by ``start + steps * step`` at most. ``budget`` is not looked at.
    """

    identity = "attack.lowkey"
    version = 2

    likeness: Likeness
    weight: NonNegative = 0.05
    dimensions: PositiveInt = 512
    steps: PositiveInt = 50
    step: PixelChange = 0.0025
    start: PixelNoise = 0.005
    kernel: OddPixels = 7
    sigma: BlurSigma = 3.0
    rounding: Rounding = "nearest"

    needs_gradient = True
    bounded = False
    stops_early = False
    batch_dependent = False

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Cloak ``pairs.probe``; what it is to leave is the reference, sharp, for both branches."""
        each = torch.arange(len(pairs), device=pairs.index.device)
        template = view.enroll(pairs)[torch.cat([each, each])]
        differing = self.likeness.to(pairs.probe)
        noise = uniform(pairs.index, Draw(view.seed, Stream.ATTACK), tuple(pairs.probe.shape[1:]))
        images = pairs.probe + self.start * (2 * noise - 1)
        for step in range(self.steps):
            images = images.detach().requires_grad_(True)
            both = torch.cat([images, self._smoothed(images)])
            distance = (2 - 2 * goal.loss(view.score(both, template, step))).view(2, -1).mean(dim=0)
            gain = distance / self.dimensions - self.weight * differing(images)
            (slope,) = torch.autograd.grad(gain.sum(), images)
            images = images + self.step * slope.sign()
        taken = torch.full_like(pairs.index, self.steps)
        return result(view, goal, pairs, as_filed(images.detach(), self.rounding), taken)

    def _smoothed(self, images: Images) -> Images:
        from kornia.filters import gaussian_blur2d

        smooth: Images = gaussian_blur2d(images, (self.kernel, self.kernel), (self.sigma, self.sigma), "reflect")
        return smooth
