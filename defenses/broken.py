"""Deliberately broken defenses with masked gradients, the positive controls of the audit.

None of them protects: oblivious attacks succeed against all. Attack them with ``threat=adaptive
threat.include_oblivious=false``; otherwise the images of the oblivious attack count and hide the
failure of the adaptive one.

The method: docs/methods/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from frbench.defenses.components.purifier import PurifierDefense
from frbench.defenses.input_transforms.blur import Blur
from frbench.harness.core.contracts import Draw, Images, Scores, Template, Verifier
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.domains import BlurSigma, Cosine, CosineGap, Levels, Positive, ShrinkFactor
from frbench.harness.core.purifiers import Purifier, Sides
from frbench.harness.core.verifiers import Wrapping


@dataclass(frozen=True)
class Staircase:
    """Round each channel to ``levels`` equidistant levels; the gradient by autograd is zero."""

    identity = "purifier.staircase"
    version = 1

    levels: int

    differentiable = True
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        steps = self.levels - 1
        return (images * steps).round() / steps


@dataclass(frozen=True)
class Shattered(PurifierDefense):
    """Broken: quantisation to ``levels`` that offers itself as its own differentiable version.

    All gradients are zero, so a gradient attack never leaves its start. The audit flags zero gradients, weakness
    without a budget and a misleading gradient.
    """

    identity = "defense.broken_shattered"
    version = 1

    levels: Levels = 16
    apply_to: Sides = "both"

    def purifier(self) -> Purifier:
        return Staircase(self.levels)

    def differentiable_purifiers(self) -> Mapping[str, Purifier]:
        return {"exact": self.purifier()}


@dataclass(frozen=True)
class SteepHead(Wrapping):
    """Monotone head ``tanh(steepness * (score - centre))`` on the score."""

    identity = "verifier.steep_head"
    version = 1

    verifier: Verifier
    centre: float
    steepness: float

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        return torch.tanh(self.steepness * (self.verifier.score(probe, template, draw) - self.centre))


@dataclass(frozen=True)
class Saturated:
    """Broken: a score head that saturates at -1 or 1 in float32 unless the cosine is close to ``centre``.

    It keeps the decisions if ``centre`` is near the recognizer's threshold. The gradient is zero for cosines further
    than ``9 / steepness`` from ``centre``. The audit flags zero gradients and weakness without a budget.
    """

    identity = "defense.broken_saturated"
    version = 1

    centre: Cosine = 0.3
    steepness: Positive = 100.0

    def protect(self, verifier: Verifier) -> Verifier:
        return SteepHead(verifier, self.centre, self.steepness)

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]:
        return {"exact": self.protect(verifier)}


@dataclass(frozen=True)
class Shrunk:
    """Shrink each image by a factor between ``smallest`` and 1 and place it at random on a gray canvas.

    Factor and position come from torch's global random state, although the purifier declares that it is not random.
    """

    identity = "purifier.shrunk"
    version = 1

    smallest: float

    differentiable = True
    random = False  # false on purpose

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        noise = torch.rand(len(images), 3, 1, device=images.device)
        scale = self.smallest + (1 - self.smallest) * noise[:, 0]
        offset = (2 * noise[:, 1:, 0] - 1) * (1 - scale)
        theta = torch.cat([torch.eye(2, device=images.device).expand(len(images), 2, 2), -offset[..., None]], dim=2)
        grid = affine_grid(theta / scale[..., None], list(images.shape), align_corners=False)
        return grid_sample(images - 0.5, grid, align_corners=False) + 0.5


@dataclass(frozen=True)
class RandomResize(PurifierDefense):
    """Broken: random resizing and padding (Xie et al., ICLR 2018) that declares itself deterministic.

    Scores are therefore not averaged over draws, and an outcome depends on chance. The audit flags scores that are not
    reproducible.
    """

    identity = "defense.broken_random_resize"
    version = 1

    smallest: ShrinkFactor = 0.9
    apply_to: Sides = "both"

    def purifier(self) -> Purifier:
        return Shrunk(self.smallest)

    def differentiable_purifiers(self) -> Mapping[str, Purifier]:
        return {"exact": self.purifier()}


@dataclass(frozen=True)
class DetachedBlur:
    """Blur computed outside autograd; ``0 * images`` makes the output require a gradient, which is zero."""

    identity = "purifier.detached_blur"
    version = 1

    sigma: float

    differentiable = True
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return Blur(self.sigma)(images.detach(), index, draw) + 0 * images


@dataclass(frozen=True)
class Detached(PurifierDefense):
    """Broken: a blur whose differentiable version is computed on a detached image, as after a detour via NumPy.

    The audit flags zero gradients, weakness without a budget and a misleading gradient.
    """

    identity = "defense.broken_detached"
    version = 1

    sigma: BlurSigma = 1.0
    apply_to: Sides = "both"

    def purifier(self) -> Purifier:
        return Blur(self.sigma)

    def differentiable_purifiers(self) -> Mapping[str, Purifier]:
        return {"exact": DetachedBlur(self.sigma)}


@dataclass(frozen=True)
class Rippled(Wrapping):
    """``score + height * sin(frequency * <probe, direction>)`` with a fixed direction of random signs and unit norm."""

    identity = "verifier.rippled"
    version = 1

    verifier: Verifier
    height: float
    frequency: float

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        shape = tuple(probe.shape[1:])
        index = torch.zeros(1, dtype=torch.int64, device=probe.device)
        signs = (uniform(index, Draw(0, Stream.DEFENSE), shape) - 0.5).sign().double()
        position = (probe * signs).flatten(1).sum(dim=1) / signs.numel() ** 0.5  # float64: the phase is large
        ripple = self.height * torch.sin(self.frequency * position)
        return self.verifier.score(probe, template, draw) + ripple.to(probe.dtype)


@dataclass(frozen=True)
class Noisy:
    """Broken: a ripple on the score, too low to change decisions and steep enough to dominate the gradient.

    Gradients are large and finite but point along the fixed direction of the ripple. The audit flags a misleading
    gradient and weakness without a budget.
    """

    identity = "defense.broken_noisy"
    version = 1

    height: CosineGap = 0.02
    frequency: Positive = 5000.0

    def protect(self, verifier: Verifier) -> Verifier:
        return Rippled(verifier, self.height, self.frequency)

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]:
        return {"exact": self.protect(verifier)}
