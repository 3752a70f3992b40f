"""Adversarial images as the change of their clean ones: the same bits, and a small part of the room once compressed.

Within a budget most pixels of an attacked image differ from the clean one by one of few numbers, so that the change
compresses where the image does not. Adding it back rounds; ``residue`` holds what that rounding gets wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import numpy as np

Arrays = dict[str, np.ndarray]


def packed(images: np.ndarray, clean: np.ndarray) -> Arrays:
    """What ``unpacked`` makes the finite ``images`` of again, bit for bit. Both are float32 of one shape.

    change: float32, ``images - clean``. residue: int32, the bits of ``images`` minus those of ``clean + change``, most
    of them 0. clean: the digest of ``clean``, uint8 (32,).
    """
    change = images - clean
    residue = _bits(images) - _bits(clean + change)
    return {"change": change, "residue": residue, "clean": _digest(clean)}


def unpacked(kept: Mapping[str, np.ndarray], clean: np.ndarray) -> np.ndarray | None:
    """The images, float32, or None where ``clean`` is not what they were made of."""
    if not np.array_equal(kept["clean"], _digest(clean)):
        return None
    return (_bits(clean + kept["change"]) + kept["residue"]).view(np.float32)


def _bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32).view(np.int32)


def _digest(values: np.ndarray) -> np.ndarray:
    return np.frombuffer(sha256(np.ascontiguousarray(values, np.float32).tobytes()).digest(), np.uint8)
