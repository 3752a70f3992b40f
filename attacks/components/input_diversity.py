"""What makes a gradient transfer: input diversity (DI) and smoothed gradients (TI), for ``ProjectedDescent``.

Constants follow specs/ensemble_attacks 6.4 (code: RobFR attack/DIM.py, TIM.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from frbench.harness.core.contracts import Draw, Images
from frbench.harness.core.counter_rng import uniform
from frbench.harness.core.domains import CropPixels, Positive, ShrinkFactor

_OUTSIDE = 3.0  # a coordinate beyond [-1, 1], which ``grid_sample`` answers with zero


class Diversity(Protocol):
    """A random, differentiable change of images (N, 3, H, W); its noise hangs on the pair ``index`` and the draw."""

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images: ...


class Smoothing(Protocol):
    """A filter of gradients (N, 3, H, W), each by itself."""

    def __call__(self, gradient: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class ResizeAndPad:
    """Shrink by a factor uniform in [smallest, 1), nearest pixel, and paste at a random place of a black canvas.

    Xie et al., CVPR 2019. RobFR draws one factor and one place a step for the whole batch; here each pair has its
    own, so that no lucky draw is shared by all pairs of a table, and pairs can be attacked in any company.
    """

    identity = "attack.input_diversity"
    version = 1

    smallest: ShrinkFactor = 0.9

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        """Images (N, 3, H, W) of the same size."""
        height, width = images.shape[2:]
        factor, top, left = uniform(index, draw, (3,)).unbind(dim=1)
        factor = self.smallest + (1 - self.smallest) * factor
        down, across = _sources(height, factor, top), _sources(width, factor, left)
        shape = (len(images), height, width)
        grid = torch.stack([across[:, None, :].expand(shape), down[:, :, None].expand(shape)], dim=-1)
        pasted = functional.grid_sample(images, grid, mode="nearest", align_corners=True)
        return pasted.contiguous(memory_format=torch.channels_last)


def _sources(length: int, factor: Tensor, place: Tensor) -> Tensor:
    """Which pixel of a line each pixel of the canvas shows (N, length), as ``grid_sample`` counts, -1 to 1.

    Sizes are rounded, and pixels chosen in float32, as ``interpolate`` does.
    """
    short = (length * factor).round()
    offset = (place * (length - short + 1)).floor()
    at = torch.arange(length, device=factor.device) - offset[:, None]
    scale = torch.full_like(short, length) / short  # a number over a tensor would be rounded twice
    pixel = (at * scale[:, None]).floor()
    shown = (at >= 0) & (at < short[:, None])
    return torch.where(shown, 2 * pixel / max(length - 1, 1) - 1, _OUTSIDE)


@dataclass(frozen=True)
class GaussianSmoothing:
    """Each channel of a gradient under a Gaussian of ``length`` pixels that ends ``nsig`` deviations from its middle.

    Dong et al., CVPR 2019; beyond the border the gradient is zero.
    """

    identity = "attack.gradient_smoothing"
    version = 1

    length: CropPixels = 7
    nsig: Positive = 3.0

    def kernel(self) -> Tensor:
        """Weights (length, length), of sum 1."""
        line = torch.exp(-torch.linspace(-self.nsig, self.nsig, self.length).square() / 2)
        line = line / line.sum()
        return line[:, None] * line[None, :]

    def __call__(self, gradient: Tensor) -> Tensor:
        channels = gradient.shape[1]
        weight = self.kernel().to(gradient).expand(channels, 1, -1, -1)
        return functional.conv2d(gradient, weight, padding="same", groups=channels)
