"""LowKey: signed gradient steps that move the features of a photo and of its blurred copy away from the original.

Cherepanova et al., "LowKey: leveraging adversarial attacks to protect social media users from facial recognition",
ICLR 2021, Section 4, after the authors' code, on aligned crops.

The method: docs/methods/cloaks.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from frbench.attacks.components.cloak_optimization import result
from frbench.attacks.components.perceptual_distance import PerceptualDistance
from frbench.harness.core.contracts import Attack, AttackResult, Budget, Draw, Goal, Images, View
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.domains import BlurSigma, NonNegative, OddPixels, PixelChange, PixelNoise, PositiveInt
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.quantization import Rounding, quantize


@dataclass(frozen=True)
class LowKey(Attack):
    """Maximises the mean squared feature distance minus ``weight`` times the perceptual distance.

    Attributes:
        perceptual_distance: distance of an image to the original as people see it.
        weight: weight of the perceptual distance, against a feature distance that is averaged over ``dimensions``.
        dimensions: dimension of the published features; a constant, whatever the networks of the view have.
        steps: signed gradient steps.
        step_size: size of a step, in [0, 1].
        init_noise: largest value of the uniform noise that is added before the first step.
        kernel: window in pixels of the Gaussian blur of the second term of the objective.
        sigma: standard deviation of the blur in pixels.
        rounding: of the returned images to gray levels: ``nearest`` as the original, ``truncate`` or ``none``.

    Images are clipped at the end only, so a pixel moves by ``init_noise + steps * step_size`` at most.
    """

    identity = "attack.lowkey"
    version = 2

    perceptual_distance: PerceptualDistance
    weight: NonNegative = 0.05
    dimensions: PositiveInt = 512
    steps: PositiveInt = 50
    step_size: PixelChange = 0.0025
    init_noise: PixelNoise = 0.005
    kernel: OddPixels = 7
    sigma: BlurSigma = 3.0
    rounding: Rounding = "nearest"

    bounded = False

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Move ``pairs.probe`` and its blurred copy away from the sharp reference; ``budget`` is ignored."""
        each = torch.arange(len(pairs), device=pairs.index.device)
        template = view.enroll(pairs)[torch.cat([each, each])]
        perceptual = self.perceptual_distance.to(pairs.probe)
        noise = uniform(pairs.index, Draw(view.seed, Stream.ATTACK), tuple(pairs.probe.shape[1:]))
        images = pairs.probe + self.init_noise * (2 * noise - 1)
        for step in range(self.steps):
            images = images.detach().requires_grad_(True)
            both = torch.cat([images, self._blurred(images)])
            distance = (2 - 2 * goal.loss(view.score(both, template, step))).view(2, -1).mean(dim=0)
            gain = distance / self.dimensions - self.weight * perceptual(images)
            (slope,) = torch.autograd.grad(gain.sum(), images)
            images = images + self.step_size * slope.sign()
        taken = torch.full_like(pairs.index, self.steps)
        return result(view, goal, pairs, quantize(images.detach(), self.rounding), taken)

    def _blurred(self, images: Images) -> Images:
        from kornia.filters import gaussian_blur2d

        blurred: Images = gaussian_blur2d(images, (self.kernel, self.kernel), (self.sigma, self.sigma), "reflect")
        return blurred
