"""Conversion to 8 bits rounds to the nearest gray level, and levels survive it unchanged."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from frbench.harness.core.quantization import quantize
from frbench.harness.images.eight_bit import from_bytes, to_bytes


@given(st.integers(0, 2**32 - 1))
def test_both_conversions_round_to_the_nearest_level(seed: int) -> None:
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(seed))
    stack = to_bytes(images)
    assert stack.dtype == np.uint8 and stack.shape == (2, 4, 5, 3)
    assert np.abs(stack / 255.0 - images.permute(0, 2, 3, 1).numpy()).max() <= 0.5 / 255 + 1e-6
    assert torch.equal(from_bytes(stack, images), quantize(images))


def test_every_level_survives() -> None:
    levels = torch.arange(256).float().div(255).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(from_bytes(to_bytes(levels), levels), levels)
    assert torch.equal(quantize(levels), levels)
    assert to_bytes(levels * 3 - 1).min() == 0 and to_bytes(levels * 3 - 1).max() == 255
