"""Input transformations against other implementations, and their relaxations against the real transformation."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from frbench.defenses.components.purifier import StraightThrough
from frbench.defenses.input_transforms.bitdepth import BitDepth
from frbench.defenses.input_transforms.blur import Blur
from frbench.defenses.input_transforms.jpeg import Jpeg, SoftJpeg
from frbench.harness.core.contracts import Draw

INDEX = torch.arange(4)


@pytest.fixture(scope="module")
def smooth() -> torch.Tensor:
    """Natural-looking images (4, 3, 112, 112): filtered noise."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(4, 3, 112, 112)), (0, 0, 4, 4))
    return torch.from_numpy((noise - noise.min()) / (noise.max() - noise.min())).float()


def test_jpeg_is_what_a_file_would_hold(smooth: torch.Tensor) -> None:
    pixels = (smooth[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=60)
    expected = np.asarray(Image.open(file))
    found = Jpeg(60)(smooth, INDEX, Draw())[0].mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert np.array_equal(found, expected)


def test_soft_jpeg_stands_close_to_the_codec_and_has_a_gradient(smooth: torch.Tensor) -> None:
    images = smooth.clone().requires_grad_()
    soft = SoftJpeg(75)(images, INDEX, Draw())
    hard = Jpeg(75)(smooth, INDEX, Draw())
    assert (soft - hard).abs().mean() < 1.5 * (hard - smooth).abs().mean()
    soft.sum().backward()
    assert images.grad is not None and bool((images.grad.flatten(1).norm(dim=1) > 0).all())


def test_bit_depth_gives_even_levels(smooth: torch.Tensor) -> None:
    found = BitDepth(3)(smooth, INDEX, Draw())
    assert len(found.unique()) <= 8
    assert (found - smooth).abs().max() <= 0.5 / 7 + 1e-6


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_blur_is_scipys_gaussian(sigma: float, smooth: torch.Tensor) -> None:
    radius = int(3 * sigma + 0.5)
    expected = gaussian_filter(smooth.numpy(), (0, 0, sigma, sigma), mode="mirror", radius=(0, 0, radius, radius))
    assert np.allclose(Blur(sigma)(smooth, INDEX, Draw()).numpy(), expected, atol=2e-5)


def test_straight_through_shows_the_truth_forward_and_the_stand_in_backward(smooth: torch.Tensor) -> None:
    images = smooth.clone().requires_grad_()
    out = StraightThrough(BitDepth(2))(images, INDEX, Draw())
    assert torch.allclose(out, BitDepth(2)(smooth, INDEX, Draw()), atol=1e-6)
    weight = torch.rand(smooth.shape)
    (out * weight).sum().backward()
    assert images.grad is not None and torch.allclose(images.grad, weight)
    soft = smooth.clone().requires_grad_()
    (StraightThrough(BitDepth(2), Blur(1.0))(soft, INDEX, Draw()) * weight).sum().backward()
    direct = smooth.clone().requires_grad_()
    (Blur(1.0)(direct, INDEX, Draw()) * weight).sum().backward()
    assert soft.grad is not None and direct.grad is not None and torch.allclose(soft.grad, direct.grad, atol=1e-6)
