"""Input diversity (DI) and gradient smoothing (TI), which improve the transfer of gradient attacks.

Xie et al., CVPR 2019; Dong et al., CVPR 2019. Constants are those of RobFR (Yang et al., 2020).

The method: docs/methods/attacks_within_a_budget.md.
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

_OUTSIDE = 3.0  # a coordinate beyond [-1, 1], where ``grid_sample`` returns zero


class Diversity(Protocol):
    """A random, differentiable transformation of images (N, 3, H, W); its noise depends on pair and draw alone."""

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images: ...


class Smoothing(Protocol):
    """A filter of gradients (N, 3, H, W), row by row."""

    def __call__(self, gradient: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class ResizeAndPad:
    """Resizes by a factor uniform in [smallest, 1), nearest pixel, and pads with black at a random position.

    RobFR draws one factor and one position per step for the whole batch; here each pair has its own, so that results
    do not depend on the batch.
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
    """Source coordinate (N, length) of each output pixel along one axis, in [-1, 1] as ``grid_sample`` expects.

    Sizes are rounded, and source pixels computed in float32, as ``interpolate`` does.
    """
    short = (length * factor).round()
    offset = (place * (length - short + 1)).floor()
    at = torch.arange(length, device=factor.device) - offset[:, None]
    scale = torch.full_like(short, length) / short  # number / tensor would round twice
    pixel = (at * scale[:, None]).floor()
    shown = (at >= 0) & (at < short[:, None])
    return torch.where(shown, 2 * pixel / max(length - 1, 1) - 1, _OUTSIDE)


@dataclass(frozen=True)
class GaussianSmoothing:
    """Convolves each channel of a gradient with a Gaussian window, with zero padding.

    Attributes:
        length: side of the window in pixels.
        nsig: half the window in standard deviations.
    """

    identity = "attack.gradient_smoothing"
    version = 1

    length: CropPixels = 7
    nsig: Positive = 3.0

    def kernel(self) -> Tensor:
        """The window (length, length), which sums to 1."""
        line = torch.exp(-torch.linspace(-self.nsig, self.nsig, self.length).square() / 2)
        line = line / line.sum()
        return line[:, None] * line[None, :]

    def __call__(self, gradient: Tensor) -> Tensor:
        channels = gradient.shape[1]
        weight = self.kernel().to(gradient).expand(channels, 1, -1, -1)
        return functional.conv2d(gradient, weight, padding="same", groups=channels)
