"""Conversion between float images and the 8 bits per channel of image files.

Values are rounded to the nearest gray level. Truncation would turn a change of 2/255 into one of 3/255.
"""

from __future__ import annotations

import numpy as np
import torch

from frbench.harness.core.contracts import Images


def to_bytes(images: Images) -> np.ndarray:
    """Float images (N, 3, H, W) in [0, 1] as uint8 (N, H, W, 3), rounded and clamped."""
    return images.detach().mul(255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def from_bytes(stack: np.ndarray, like: Images) -> Images:
    """A uint8 stack (N, H, W, 3) as images (N, 3, H, W) in [0, 1], with the dtype and device of ``like``."""
    return torch.from_numpy(stack).to(like.device).permute(0, 3, 1, 2).to(like.dtype).div_(255)
