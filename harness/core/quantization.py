"""Rounding of images in [0, 1] to the gray levels of an 8-bit file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from frbench.harness.core.face_data import Images

Rounding = Literal["truncate", "nearest", "none"]
_GRAY_LEVELS = 255
_ROUND: Mapping[str, Callable[[Tensor], Tensor]] = {"truncate": torch.floor, "nearest": torch.round}


def quantize(images: Images, rounding: Rounding = "nearest") -> Images:
    """Images (N, 3, H, W) clamped to [0, 1], as an 8-bit file without loss holds them.

    Args:
        rounding: ``truncate`` rounds down, ``nearest`` to the nearest gray level; ``none`` only clamps.
    """
    images = images.clamp(0, 1)
    return _ROUND[rounding](images * _GRAY_LEVELS) / _GRAY_LEVELS if rounding in _ROUND else images
