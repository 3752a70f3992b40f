"""Lossless coding of adversarial images as differences from their clean images.

Within a budget most differences take one of few values, so they compress well. ``clean + difference`` rounds; the
``residue`` holds the bits that this rounding loses.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import numpy as np

Arrays = dict[str, np.ndarray]


def encode(images: np.ndarray, clean: np.ndarray) -> Arrays:
    """The arrays from which ``decode`` restores finite ``images``, bit for bit.

    Args:
        images, clean: float32, of one shape.

    Returns:
        change: float32, ``images - clean``. residue: int32, the bits of ``images`` minus those of ``clean + change``,
        mostly 0. clean: uint8 (32,), the SHA-256 of ``clean``.
    """
    change = images - clean
    residue = _bits(images) - _bits(clean + change)
    return {"change": change, "residue": residue, "clean": _digest(clean)}


def is_based_on(arrays: Mapping[str, np.ndarray], clean: np.ndarray) -> bool:
    """Whether ``arrays`` encode differences from exactly these clean images."""
    return np.array_equal(arrays["clean"], _digest(clean))


def decode(arrays: Mapping[str, np.ndarray], clean: np.ndarray) -> np.ndarray:
    """The images, float32. Raises ValueError: they were encoded against other clean images."""
    if not is_based_on(arrays, clean):
        raise ValueError("the images were encoded against other clean images")
    return (_bits(clean + arrays["change"]) + arrays["residue"]).view(np.float32)


def _bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32).view(np.int32)


def _digest(values: np.ndarray) -> np.ndarray:
    return np.frombuffer(sha256(np.ascontiguousarray(values, np.float32).tobytes()).digest(), np.uint8)
