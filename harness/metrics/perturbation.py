"""How much an attack changed an image: L-inf and RMS in gray levels, L2 on [0, 1], SSIM. Batched, per image."""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor

from frbench.harness.core.contracts import Images, Mask

GRAY_LEVELS = 255
_WINDOW, _SIGMA = 11, 1.5  # of the Gaussian window of SSIM
_C1, _C2 = 0.01**2, 0.03**2


def linf(clean: Images, adversarial: Images) -> Tensor:
    """Largest change of any channel of any pixel, in gray levels of 255, (N,)."""
    return (adversarial - clean).abs().flatten(1).amax(dim=1) * GRAY_LEVELS


def l2(clean: Images, adversarial: Images) -> Tensor:
    """Euclidean length of the change on [0, 1], (N,)."""
    length: Tensor = torch.linalg.vector_norm((adversarial - clean).flatten(1), dim=1)
    return length


def rms(clean: Images, adversarial: Images) -> Tensor:
    """Root mean square change over all channels of all pixels, in gray levels of 255, (N,)."""
    return (adversarial - clean).flatten(1).square().mean(dim=1).sqrt() * GRAY_LEVELS


def ssim(clean: Images, adversarial: Images) -> Tensor:
    """Mean structural similarity (11x11 Gaussian window, whole windows only), 1 for equal images, (N,)."""
    from kornia.metrics import ssim as kornia_ssim

    maps: Tensor = kornia_ssim(clean, adversarial, window_size=_WINDOW, max_val=1.0, padding="valid")
    return maps.flatten(1).mean(dim=1)


class Structure:
    """DSSIM, (1 - SSIM) / 2, to fixed ``clean`` images (N, C, H, W) whose own statistics are worked out once.

    As ``ssim``, and differentiable; per image, to the last bit whatever the batch. Images smaller than the window have
    the largest odd one that fits. Filters are products with banded matrices: on a CPU as quick as convolutions.
    """

    def __init__(self, clean: Images) -> None:
        height, width = clean.shape[2:]
        length = min(_WINDOW, (min(height, width) + 1) // 2 * 2 - 1)
        self._down, self._across = (_band(side, length).to(clean) for side in (height, width))
        self._centred = self._shifted(clean)
        self._mean, square = self._blurred(self._centred, self._centred.square())
        self._variance = square - self._mean.square()

    def dssim(self, images: Images) -> Tensor:
        """(N,), 0 for the clean images themselves."""
        moved = self._shifted(images)
        mean, square, product = self._blurred(moved, moved.square(), moved * self._centred)
        variance, covariance = square - mean.square(), product - mean * self._mean
        ours, theirs = self._mean + 0.5, mean + 0.5
        above = (2 * ours * theirs + _C1) * (2 * covariance + _C2)
        below = (ours.square() + theirs.square() + _C1) * (self._variance + variance + _C2)
        return (1 - (above / below).flatten(1).mean(dim=1)) / 2

    def _shifted(self, images: Images) -> Images:
        """Around zero, where a variance loses fewer digits; planes apart, as a matrix product wants them."""
        return (images - 0.5).contiguous(memory_format=torch.contiguous_format)

    def _blurred(self, *planes: Tensor) -> tuple[Tensor, ...]:
        """Each (N, C, H, W) under the window, where all of it is inside."""
        stacked = torch.cat(planes, dim=1)
        return (self._down @ (stacked @ self._across.T)).chunk(len(planes), dim=1)

    def __getitem__(self, rows: Tensor) -> Structure:
        """Of the images ``rows`` alone."""
        kept = copy(self)
        kept._centred, kept._mean, kept._variance = self._centred[rows], self._mean[rows], self._variance[rows]
        return kept


def _band(side: int, length: int) -> Tensor:
    """The Gaussian window at each of its places on a line, (side - length + 1, side)."""
    line = torch.exp(-((torch.arange(length) - length // 2) / _SIGMA).square() / 2)
    rows = torch.zeros(side - length + 1, side)
    for place, row in enumerate(rows):
        row[place : place + length] = line / line.sum()
    return rows


def sizes(clean: Images, adversarial: Images, achieved: Mask | None = None) -> dict[str, Tensor]:
    """``linf``, ``l2``, ``rms`` and ``ssim`` of each image, (N,) each.

    Where ``achieved`` (N,) is given and false, the attack failed: its size is infinite and its similarity minus
    infinity, so that no failure passes for a small perturbation.
    """
    measured = {
        "linf": linf(clean, adversarial),
        "l2": l2(clean, adversarial),
        "rms": rms(clean, adversarial),
        "ssim": ssim(clean, adversarial),
    }
    if achieved is None:
        return measured
    worst = {"linf": torch.inf, "l2": torch.inf, "rms": torch.inf, "ssim": -torch.inf}
    return {name: value.masked_fill(~achieved, worst[name]) for name, value in measured.items()}
