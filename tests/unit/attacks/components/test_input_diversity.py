"""Input diversity and smoothed gradients, against a plain loop over images and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torch import Tensor
from torch.nn import functional

from frbench.attacks.components.input_diversity import GaussianSmoothing, ResizeAndPad
from frbench.harness.core.contracts import Draw
from frbench.harness.core.counter_rng import Stream, uniform

SIZES = [(8, 8), (16, 16), (112, 112), (112, 96)]
NAMES = ["8x8", "16x16", "112x112", "112x96"]


def pasted(image: Tensor, factor: float, top: float, left: float) -> Tensor:
    """One image as RobFR does it: nearest-pixel resize, then a place on a black canvas; ``top``, ``left`` in [0, 1)."""
    height, width = image.shape[1:]
    tall, wide = round(height * factor), round(width * factor)
    down, across = int(top * (height - tall + 1)), int(left * (width - wide + 1))
    canvas = torch.zeros_like(image)
    canvas[:, down : down + tall, across : across + wide] = functional.interpolate(image[None], (tall, wide))[0]
    return canvas


def reference(images: Tensor, index: Tensor, draw: Draw, smallest: float = 0.9) -> Tensor:
    """A plain loop with the same draws."""
    drawn = uniform(index, draw, (3,)).tolist()
    return torch.stack(
        [
            pasted(image, smallest + (1 - smallest) * f, top, left)
            for image, (f, top, left) in zip(images, drawn, strict=True)
        ]
    )


@pytest.mark.parametrize("size", SIZES, ids=NAMES)
@pytest.mark.parametrize("smallest", [0.9, 0.5])
def test_images_and_gradients_are_those_of_a_plain_loop(smallest: float, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(20, 3, *size, generator=generator).requires_grad_()
    weight = torch.rand(20, 3, *size, generator=generator)
    index, draw = torch.arange(100, 120), Draw(3, Stream.ATTACK, 7, 1)
    found, expected = ResizeAndPad(smallest)(images, index, draw), reference(images, index, draw, smallest)
    assert torch.equal(found, expected)
    gradients = [torch.autograd.grad((made * weight).sum(), images)[0] for made in (found, expected)]
    assert torch.allclose(*gradients, atol=1e-6)


def test_no_image_is_larger_than_the_canvas_nor_smaller_than_asked() -> None:
    made = ResizeAndPad()(torch.ones(500, 3, 112, 112), torch.arange(500), Draw())
    sides = made[:, 0].amax(dim=2).sum(dim=1)
    assert sides.min() >= round(0.9 * 112)
    assert sides.max() <= 112
    assert len(sides.unique()) > 8
    tops = made[:, 0].amax(dim=2).argmax(dim=1)
    assert len(tops.unique()) > 8


def test_each_pair_and_each_step_has_its_own_draw_whoever_else_is_there() -> None:
    images, index = torch.rand(1, 3, 112, 112).expand(6, -1, -1, -1), torch.arange(6)
    change = ResizeAndPad()
    first, later = (
        change(images, index, Draw(0, Stream.ATTACK, 1, 1)),
        change(images, index, Draw(0, Stream.ATTACK, 2, 1)),
    )
    assert len({tuple(each.flatten().tolist()) for each in (*first, *later)}) >= 11
    assert torch.equal(change(images[:2], index[3:5], Draw(0, Stream.ATTACK, 1, 1)), first[3:5])


@pytest.mark.parametrize(("length", "nsig"), [(7, 3.0), (15, 3.0), (5, 2.0)])
def test_the_kernel_is_a_gaussian_of_sum_one(length: int, nsig: float) -> None:
    line = stats.norm.pdf(np.linspace(-nsig, nsig, length))
    expected = np.outer(line, line) / np.outer(line, line).sum()
    kernel = GaussianSmoothing(length, nsig).kernel()
    assert kernel.sum().item() == pytest.approx(1, abs=1e-6)
    assert np.allclose(kernel.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("size", SIZES, ids=NAMES)
def test_gradients_are_smoothed_as_scipy_does_it(size: tuple[int, int]) -> None:
    gradient = torch.randn(4, 3, *size, generator=torch.Generator().manual_seed(2))
    smoothing = GaussianSmoothing()
    kernel = smoothing.kernel().numpy()[None, None]
    expected = ndimage.correlate(gradient.numpy(), kernel, mode="constant")
    assert np.allclose(smoothing(gradient).numpy(), expected, atol=1e-5)
    assert not bool(smoothing(torch.zeros(2, 3, *size)).any())
