"""How much an attack changed an image: L-inf and RMS in gray levels, L2 on [0, 1], SSIM. Batched, per image."""

from __future__ import annotations

import torch
from torch import Tensor

from frbench.harness.contracts import Images, Mask

GRAY_LEVELS = 255
_WINDOW = 11  # of the Gaussian window of SSIM, sigma 1.5


def linf(clean: Images, adversarial: Images) -> Tensor:
    """Largest change of any channel of any pixel, in gray levels of 255, (N,)."""
    return (adversarial - clean).abs().flatten(1).amax(dim=1) * GRAY_LEVELS


def l2(clean: Images, adversarial: Images) -> Tensor:
    """Euclidean length of the change on [0, 1], (N,)."""
    return torch.linalg.vector_norm((adversarial - clean).flatten(1), dim=1)


def rms(clean: Images, adversarial: Images) -> Tensor:
    """Root mean square change over all channels of all pixels, in gray levels of 255, (N,)."""
    return (adversarial - clean).flatten(1).square().mean(dim=1).sqrt() * GRAY_LEVELS


def ssim(clean: Images, adversarial: Images) -> Tensor:
    """Mean structural similarity (11x11 Gaussian window, whole windows only), 1 for equal images, (N,)."""
    from kornia.metrics import ssim as kornia_ssim

    maps: Tensor = kornia_ssim(clean, adversarial, window_size=_WINDOW, max_val=1.0, padding="valid")
    return maps.flatten(1).mean(dim=1)


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
