"""What arrives of an image that was kept as a file or resized, against formulas and somebody else's resampling."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter

from frbench.defenses.input_transforms.jpeg import Jpeg
from frbench.harness.config import build
from frbench.harness.core.contracts import Draw
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.images.postprocessing import JpegFile, Png, Postprocessing, Resized

WAYS = [Png(), JpegFile(90), JpegFile(75), Resized(160)]


def random_images(count: int = 5, size: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def smooth() -> torch.Tensor:
    """Images (4, 3, 112, 112) without fine detail, of full contrast."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(4, 3, 112, 112)), (0, 0, 4, 4))
    return torch.from_numpy((noise - noise.min()) / (noise.max() - noise.min())).float()


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1, width=32), min_size=48, max_size=48))
def test_that_png_is_rounding_to_eight_bits_and_nothing_else(values: list[float]) -> None:
    images = torch.tensor(values, dtype=torch.float32).reshape(1, 3, 4, 4)
    arrived = Png()(images).images
    expected = np.round(255 * np.asarray(values, np.float32)) / np.float32(255)
    assert np.array_equal(arrived.numpy().ravel(), expected.astype(np.float32))
    assert torch.equal(Png()(arrived).images, arrived)


def test_that_what_has_eight_bits_already_arrives_as_it_was() -> None:
    levels = torch.arange(256, dtype=torch.float32).div(255).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(Png()(levels).images, levels)


def test_that_a_budget_is_kept_because_values_are_rounded_and_not_cut_off() -> None:
    """Cut off, a change of 2/255 downwards would often arrive as one of 3/255."""
    clean = Png()(random_images()).images
    for change in (-2 / 255, 2 / 255):
        arrived = Png()((clean + change * (1 - 1e-4)).clamp(0, 1)).images
        assert ((arrived - clean).abs().max() * 255).item() == pytest.approx(2, abs=1e-4)


@pytest.mark.parametrize("way", WAYS, ids=repr)
def test_that_each_image_goes_alone_and_stays_an_image_in_which_a_face_was_found(way: Postprocessing) -> None:
    images = random_images().contiguous(memory_format=torch.channels_last)
    before = images.clone()
    arrived = way(images)
    assert torch.equal(images, before)
    assert (arrived.images.shape, arrived.images.dtype) == (images.shape, torch.float32)
    assert arrived.images.min() >= 0 and arrived.images.max() <= 1
    assert (arrived.found.dtype, arrived.found.tolist()) == (torch.bool, [True] * 5)
    bytes_of_it = arrived.images * 255
    assert torch.allclose(bytes_of_it, bytes_of_it.round(), atol=1e-4)
    alone = torch.cat([way(images[i : i + 1]).images for i in range(5)])
    assert torch.equal(arrived.images, alone)
    assert torch.equal(way(images.flip(0)).images, alone.flip(0))


def test_that_a_file_has_no_gradient() -> None:
    assert not Png()(random_images().requires_grad_()).images.requires_grad


@pytest.mark.parametrize("quality", [40, 75, 90])
def test_that_jpeg_is_what_is_read_back_from_a_file_and_what_the_defense_of_that_name_does(
    quality: int, smooth: torch.Tensor
) -> None:
    arrived = JpegFile(quality)(smooth).images
    file = io.BytesIO()
    pixels = (smooth[2].numpy() * 255).round().astype(np.uint8).transpose(1, 2, 0)
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    assert np.array_equal((arrived[2].numpy() * 255).round().transpose(1, 2, 0), np.asarray(Image.open(file)))
    assert torch.equal(arrived, Jpeg(quality)(smooth, torch.arange(4), Draw()))


def test_that_a_better_jpeg_loses_less(smooth: torch.Tensor) -> None:
    lost = [float((JpegFile(quality)(smooth).images - smooth).abs().mean()) for quality in (95, 90, 75, 40)]
    assert lost == sorted(lost)
    assert lost[0] < lost[-1] / 2


@pytest.mark.parametrize("side", [160, 224, 80])
def test_that_resizing_is_torchs_antialiased_bilinear_filter_with_eight_bits_between(
    side: int, smooth: torch.Tensor
) -> None:
    """Pillow also rounds between rows and columns, so that a level or two may differ, and half of one on average."""

    def resized(images: torch.Tensor, size: int, antialias: bool) -> torch.Tensor:
        scaled = torch.nn.functional.interpolate(images, (size, size), mode="bilinear", antialias=antialias)
        return (scaled * 255).round() / 255

    images = (0.7 * smooth + 0.3 * random_images(4, 112)).clamp(0, 1)
    rounded = (images * 255).round() / 255
    arrived = Resized(side)(images).images
    filtered = (resized(resized(rounded, side, True), 112, True) - arrived).abs() * 255
    assert filtered.max() <= 3 + 1e-3
    assert filtered.mean() < 0.5
    picked = (resized(resized(rounded, side, False), 112, False) - arrived).abs() * 255
    assert picked.mean() > 2


def test_that_resizing_to_the_size_that_it_has_is_rounding_alone() -> None:
    assert torch.equal(Resized(32)(random_images()).images, Png()(random_images()).images)


def test_that_ways_are_built_from_a_config_and_told_apart() -> None:
    def made(name: str, **settings: int) -> Postprocessing:
        return build.instantiate(
            {"_target_": f"frbench.harness.images.postprocessing.{name}", **settings}, "protocol.postprocessing"
        )

    ways = [made("Png"), made("JpegFile", quality=90), made("JpegFile", quality=75), made("Resized", side=160)]
    assert ways == WAYS
    assert len({fingerprint(way) for way in ways}) == len(ways)
