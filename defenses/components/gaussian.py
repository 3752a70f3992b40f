"""Gaussian blur by kornia."""

from __future__ import annotations

from frbench.harness.core.contracts import Images


def gaussian_blur(images: Images, sigma: float) -> Images:
    """Blur images (N, C, H, W) by a Gaussian of ``sigma`` pixels, truncated at 3 sigma, with reflected borders."""
    from kornia.filters import gaussian_blur2d

    window = 2 * int(3 * sigma + 0.5) + 1
    return gaussian_blur2d(images, (window, window), (sigma, sigma))
