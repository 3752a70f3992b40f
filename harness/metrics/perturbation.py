"""Perturbation sizes per image: L-inf and RMS in gray levels, L2 on [0, 1], SSIM and DSSIM. Batched."""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor

from frbench.harness.core.contracts import Images, Mask

GRAY_LEVELS = 255
_WINDOW, _SIGMA = 11, 1.5  # Gaussian window of SSIM
_C1, _C2 = 0.01**2, 0.03**2
_CHANGED = 1e-6  # least change of a value that counts


def linf(clean: Images, adversarial: Images) -> Tensor:
    """L-inf norm of the perturbation in gray levels of 255.

    Args:
        clean: (N, C, H, W) in [0, 1].
        adversarial: the same shape and range.

    Returns:
        (N,), in [0, 255].

    >>> clean = torch.zeros(1, 3, 2, 2)
    >>> linf(clean, clean + 8 / 255)
    tensor([8.])
    """
    return (adversarial - clean).abs().flatten(1).amax(dim=1) * GRAY_LEVELS


def l2(clean: Images, adversarial: Images) -> Tensor:
    """L2 norm of the perturbation, for images on [0, 1].

    Args:
        clean: (N, C, H, W) in [0, 1].
        adversarial: the same shape and range.

    Returns:
        (N,), at least 0.

    >>> clean = torch.zeros(1, 1, 2, 2)
    >>> l2(clean, clean + 0.5)
    tensor([1.])
    """
    length: Tensor = torch.linalg.vector_norm((adversarial - clean).flatten(1), dim=1)
    return length


def rms(clean: Images, adversarial: Images) -> Tensor:
    """Root mean square of the perturbation in gray levels of 255: L2 * 255 / sqrt(C * H * W).

    Args:
        clean: (N, C, H, W) in [0, 1].
        adversarial: the same shape and range.

    Returns:
        (N,), in [0, 255].

    >>> clean = torch.zeros(1, 3, 2, 2)
    >>> round(rms(clean, clean + 8 / 255).item(), 4)
    8.0
    """
    return (adversarial - clean).flatten(1).square().mean(dim=1).sqrt() * GRAY_LEVELS


def ssim(clean: Images, adversarial: Images) -> Tensor:
    """Mean structural similarity (Wang et al., IEEE TIP 13, 2004): 11x11 Gaussian window, no padding.

    Args:
        clean: (N, C, H, W) in [0, 1], at least 11 pixels a side.
        adversarial: the same shape and range.

    Returns:
        (N,), in [-1, 1]; 1 for equal images.

    >>> clean = torch.rand(1, 3, 16, 16)
    >>> ssim(clean, clean)
    tensor([1.])
    """
    from kornia.metrics import ssim as kornia_ssim

    maps: Tensor = kornia_ssim(clean, adversarial, window_size=_WINDOW, max_val=1.0, padding="valid")
    return maps.flatten(1).mean(dim=1)


class StructuralSimilarity:
    """DSSIM, (1 - SSIM) / 2, of images to fixed clean images; differentiable.

    As ``ssim``, but the statistics of the clean images are computed once, and the result of an image is the same to the
    last bit in any batch. If an image is smaller than the window, the window is the largest odd size that fits. Filters
    are products with banded matrices, on a CPU as fast as convolutions.

    Args:
        clean: (N, C, H, W) in [0, 1].

    >>> clean = torch.zeros(1, 3, 16, 16)
    >>> StructuralSimilarity(clean).dssim(clean)
    tensor([0.])
    """

    def __init__(self, clean: Images) -> None:
        height, width = clean.shape[2:]
        length = min(_WINDOW, (min(height, width) + 1) // 2 * 2 - 1)
        self._down, self._across = (_band(side, length).to(clean) for side in (height, width))
        self._centred = self._shifted(clean)
        self._mean, square = self._blurred(self._centred, self._centred.square())
        self._variance = square - self._mean.square()

    def dssim(self, images: Images) -> Tensor:
        """DSSIM of ``images``, shaped as the clean images: (N,), in [0, 1]; 0 for equal images."""
        moved = self._shifted(images)
        mean, square, product = self._blurred(moved, moved.square(), moved * self._centred)
        variance, covariance = square - mean.square(), product - mean * self._mean
        ours, theirs = self._mean + 0.5, mean + 0.5
        above = (2 * ours * theirs + _C1) * (2 * covariance + _C2)
        below = (ours.square() + theirs.square() + _C1) * (self._variance + variance + _C2)
        return (1 - (above / below).flatten(1).mean(dim=1)) / 2

    def _shifted(self, images: Images) -> Images:
        """Centred around zero, where a variance loses fewer digits, in the memory layout of a matrix product."""
        return (images - 0.5).contiguous(memory_format=torch.contiguous_format)

    def _blurred(self, *planes: Tensor) -> tuple[Tensor, ...]:
        """Each (N, C, H, W) filtered with the window, without padding."""
        stacked = torch.cat(planes, dim=1)
        return (self._down @ (stacked @ self._across.T)).chunk(len(planes), dim=1)

    def __getitem__(self, rows: Tensor) -> StructuralSimilarity:
        """The same for the clean images ``rows`` only."""
        kept = copy(self)
        kept._centred, kept._mean, kept._variance = self._centred[rows], self._mean[rows], self._variance[rows]
        return kept


def _band(side: int, length: int) -> Tensor:
    """Banded matrix of the Gaussian window, (side - length + 1, side)."""
    line = torch.exp(-((torch.arange(length) - length // 2) / _SIGMA).square() / 2)
    rows = torch.zeros(side - length + 1, side)
    for place, row in enumerate(rows):
        row[place : place + length] = line / line.sum()
    return rows


def sizes(clean: Images, adversarial: Images, achieved: Mask | None = None) -> dict[str, Tensor]:
    """All perturbation sizes of each image.

    Args:
        clean: (N, C, H, W) in [0, 1].
        adversarial: the same shape and range.
        achieved: bool (N,), whether the attack succeeded. A failed attack has infinite sizes and an SSIM of minus
            infinity, so that it never counts as a small perturbation. None if all count as they are.

    Returns:
        ``linf``, ``l2``, ``rms`` and ``ssim``, (N,) each.

    >>> clean = torch.zeros(2, 1, 11, 11)
    >>> sizes(clean, clean + 4 / 255, torch.tensor([True, False]))["linf"]
    tensor([4., inf])
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


def changed_shares(clean: Images, adversarial: Images) -> dict[str, Tensor]:
    """Per image (n,): the share of values at 0 or 1, and the shares of these and of the other values that changed.

    Args:
        clean: float32 (n, 3, H, W) in [0, 1].
        adversarial: as ``clean``.

    >>> clean = torch.tensor([0.0, 0.5, 0.5, 1.0]).view(1, 1, 2, 2)
    >>> adversarial = torch.tensor([0.1, 0.6, 0.5, 1.0]).view(1, 1, 2, 2)
    >>> {name: share.item() for name, share in changed_shares(clean, adversarial).items()}
    {'saturated': 0.5, 'saturated_moved': 0.5, 'inner_moved': 0.5}
    """
    changed = ((adversarial - clean).abs() > _CHANGED).flatten(1).float()
    saturated = ((clean == 0) | (clean == 1)).flatten(1).float()
    inner = 1 - saturated
    return {
        "saturated": saturated.mean(dim=1),
        "saturated_moved": (changed * saturated).sum(dim=1) / saturated.sum(dim=1).clamp_min(1),
        "inner_moved": (changed * inner).sum(dim=1) / inner.sum(dim=1).clamp_min(1),
    }
