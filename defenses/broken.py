"""Deliberately broken defenses: each hides its gradient in another way and protects from nothing.

They are the positive controls of ``harness.audit``: a check that does not flag them would flag nothing, and images
made without any knowledge of them (an oblivious attack) get through all of them. Attack them with ``threat=adaptive
threat.also_bare=false``, or those images win and the attack on the defense itself is not seen. Never defend with one.
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
from frbench.harness.core.verifiers import Purifier, Sides, Wrapping


@dataclass(frozen=True)
class Staircase:
    """Rounds each channel to ``levels`` even levels and lets autograd have the derivative of that: zero."""

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
    """Broken: quantised to ``levels``, and the staircase itself is offered as its differentiable stand-in.

    All gradients are zero, so a gradient attack never leaves its start. To be caught by: zero gradients; weak without
    limit; misleading gradient.
    """

    identity = "defense.broken_shattered"
    version = 1

    levels: Levels = 16
    purify: Sides = "both"

    def purifier(self) -> Purifier:
        return Staircase(self.levels)

    def stand_ins(self) -> Mapping[str, Purifier]:
        return {"exact": self.purifier()}


@dataclass(frozen=True)
class SteepHead(Wrapping):
    """``tanh(steepness * (score - centre))``: the order of scores is kept, their differences are not."""

    identity = "verifier.steep_head"
    version = 1

    verifier: Verifier
    centre: float
    steepness: float

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        return torch.tanh(self.steepness * (self.verifier.score(probe, template, draw) - self.centre))


@dataclass(frozen=True)
class Saturated:
    """Broken: a head on the score that is exactly -1 or 1 in float32 but for cosines close to ``centre``.

    Decisions stay as they were where ``centre`` is near the recognizer's threshold; the gradient of a pair is zero
    wherever its cosine is further than ``9 / steepness`` from it. To be caught by: zero gradients; weak without limit.
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
    """Shrinks each image by a factor between ``smallest`` and 1 and puts it somewhere on a gray canvas.

    Factors and places come from torch's global random state, and no word is said of it.
    """

    identity = "purifier.shrunk"
    version = 1

    smallest: float

    differentiable = True
    random = False  # which is the lie

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        chance = torch.rand(len(images), 3, 1, device=images.device)
        scale = self.smallest + (1 - self.smallest) * chance[:, 0]
        offset = (2 * chance[:, 1:, 0] - 1) * (1 - scale)
        theta = torch.cat([torch.eye(2, device=images.device).expand(len(images), 2, 2), -offset[..., None]], dim=2)
        grid = affine_grid(theta / scale[..., None], list(images.shape), align_corners=False)
        return grid_sample(images - 0.5, grid, align_corners=False) + 0.5


@dataclass(frozen=True)
class RandomResize(PurifierDefense):
    """Broken: random resizing and padding (Xie et al., ICLR 2018) that says it is not random.

    Nobody averages over draws or asks twice, so an attack succeeds and fails by luck, and so does a clean image. To be
    caught by: not reproducible.
    """

    identity = "defense.broken_random_resize"
    version = 1

    smallest: ShrinkFactor = 0.9
    purify: Sides = "both"

    def purifier(self) -> Purifier:
        return Shrunk(self.smallest)

    def stand_ins(self) -> Mapping[str, Purifier]:
        return {"exact": self.purifier()}


@dataclass(frozen=True)
class DetachedBlur:
    """The blur, computed outside of autograd; ``0 * images`` keeps up the appearance of a gradient."""

    identity = "purifier.detached_blur"
    version = 1

    sigma: float

    differentiable = True
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return Blur(self.sigma)(images.detach(), index, draw) + 0 * images


@dataclass(frozen=True)
class Detached(PurifierDefense):
    """Broken: a blur whose stand-in was computed on a detached image, as happens with a trip through NumPy.

    To be caught by: zero gradients; weak without limit; misleading gradient.
    """

    identity = "defense.broken_detached"
    version = 1

    sigma: BlurSigma = 1.0
    purify: Sides = "both"

    def purifier(self) -> Purifier:
        return Blur(self.sigma)

    def stand_ins(self) -> Mapping[str, Purifier]:
        return {"exact": DetachedBlur(self.sigma)}


@dataclass(frozen=True)
class Rippled(Wrapping):
    """``score + height * sin(frequency * <probe, direction>)``, direction: fixed random signs of unit length."""

    identity = "verifier.rippled"
    version = 1

    verifier: Verifier
    height: float
    frequency: float

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        shape = tuple(probe.shape[1:])
        index = torch.zeros(1, dtype=torch.int64, device=probe.device)
        signs = (uniform(index, Draw(0, Stream.DEFENSE), shape) - 0.5).sign().double()
        place = (probe * signs).flatten(1).sum(dim=1) / signs.numel() ** 0.5  # float64: phases are thousands of turns
        ripple = self.height * torch.sin(self.frequency * place)
        return self.verifier.score(probe, template, draw) + ripple.to(probe.dtype)


@dataclass(frozen=True)
class Noisy:
    """Broken: a ripple on the score, too low to change decisions and too steep for a gradient to point anywhere.

    Gradients are large and finite, and they are those of the ripple: each step goes along the same meaningless
    direction, forth or back. To be caught by: misleading gradient; weak without limit.
    """

    identity = "defense.broken_noisy"
    version = 1

    height: CosineGap = 0.02
    frequency: Positive = 5000.0

    def protect(self, verifier: Verifier) -> Verifier:
        return Rippled(verifier, self.height, self.frequency)

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]:
        return {"exact": self.protect(verifier)}
