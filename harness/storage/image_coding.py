"""Images in 8 bits, without the loss that an amplified difference of two images would show.

An image of 256 gray levels is kept as it is. Another one is kept as its change from such an image: 8 bits on a scale of
its own, so that the largest change is 127 steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
_MIDDLE = 128


def in_gray_levels(images: np.ndarray) -> NDArray[np.uint8] | None:
    """``images`` in [0, 1] as gray levels 0 to 255; None where that would round them."""
    levels = np.clip(np.rint(images * np.float32(255)), 0, 255).astype(np.uint8)
    return levels if np.array_equal(from_gray_levels(levels), images) else None


def from_gray_levels(levels: NDArray[np.uint8]) -> Images:
    """Images in [0, 1]."""
    return levels.astype(np.float32) / np.float32(255)


def nearest(images: np.ndarray, others: Mapping[str, np.ndarray]) -> str | None:
    """The name of those ``others`` with the smallest largest change to ``images``; None if none has the shape."""
    changes = {name: np.abs(images - each).max() for name, each in others.items() if each.shape == images.shape}
    return min(changes, key=lambda name: float(changes[name])) if changes and images.size else None


def change(images: np.ndarray, base: np.ndarray) -> dict[str, np.ndarray]:
    """``images`` as a change of ``base``: arrays ``change`` (uint8) and ``step`` (float32)."""
    difference = images - base
    step = max(np.abs(difference).max() / np.float32(_MIDDLE - 1), np.float32(1e-12))
    steps = np.rint(difference / step) + _MIDDLE
    return {"change": np.clip(steps, 1, 255).astype(np.uint8), "step": np.asarray(step, np.float32)}


def changed(base: Images, stored: Mapping[str, np.ndarray]) -> Images:
    """The images of ``change``."""
    return np.asarray(base + (stored["change"].astype(np.float32) - _MIDDLE) * stored["step"], np.float32)
