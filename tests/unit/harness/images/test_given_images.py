"""A caller's images: what came, what was expected, what to do, in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from frbench.harness.core.errors import ConfigError
from frbench.harness.images.given_images import given_images

BYTES = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)


def test_that_bytes_become_numbers_in_the_range() -> None:
    images = given_images(BYTES, "images")
    assert images.shape == (2, 3, 4, 5) and images.dtype == torch.float32
    assert torch.equal(images, torch.from_numpy(BYTES).permute(0, 3, 1, 2).float() / 255)


def test_that_a_tensor_keeps_its_values_and_loses_its_graph() -> None:
    images = torch.rand(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    found = given_images(images, "images")
    assert found.dtype == torch.float32 and not found.requires_grad and torch.equal(found, images.detach().float())


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([[0.5]], "probe is a list, expected a float tensor"),
        (torch.rand(3, 4, 5), r"probe has the shape (3, 4, 5), expected (N, 3, H, W); add the batch dimension"),
        (torch.rand(2, 4, 5, 3), "move the channels with permute(0, 3, 1, 2)"),
        (torch.rand(2, 1, 4, 5), "give RGB images"),
        (torch.zeros(2, 3, 4, 5, dtype=torch.uint8), "probe is uint8, expected float32 in [0, 1]"),
        (torch.rand(2, 3, 4, 5) * 255, "expected [0, 1]; divide by 255"),
        (torch.rand(2, 3, 4, 5) * 2 - 1, "undo the normalisation"),
        (torch.full((2, 3, 4, 5), torch.nan), "probe has NaN or infinite values"),
        (torch.zeros(0, 3, 4, 5), "probe has no images"),
        (BYTES / 255, "probe is an array of float64, expected uint8 (N, H, W, 3)"),
        (BYTES[0], "add the batch dimension with images[None]"),
        (BYTES[:0], "probe has no images"),
    ],
)
def test_that_other_images_are_refused(images: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        given_images(images, "probe")
    assert message in str(caught.value) and "\n" not in str(caught.value)
