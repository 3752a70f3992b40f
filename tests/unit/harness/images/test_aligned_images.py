"""One decoder for all aligned faces: what it reads it reads exactly, and what would change it refuses."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from frbench.harness.images.aligned_images import BadImage, NotAnImage, WrongSize, decode

PIXELS = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
RGB = Image.fromarray(PIXELS)
GRAY = RGB.convert("L")
# How a camera stored what is upright, for each EXIF orientation.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_every_orientation_is_turned_upright(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(saved(RGB.transpose(STORED[orientation]), kind, exif=exif, lossless=True))
    np.testing.assert_array_equal(found.pixels, PIXELS)
    assert found.turned


@pytest.mark.parametrize("orientation", [0, 1, 9, 77])
def test_an_orientation_that_says_nothing_turns_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decode(saved(RGB, exif=exif)).pixels, PIXELS)
    assert not decode(saved(RGB, exif=exif)).turned


@pytest.mark.parametrize("image", [GRAY, GRAY.convert("1"), RGB.quantize(16), RGB.convert("RGBA"), GRAY.convert("LA")])
def test_modes_without_loss_are_read(image: Image.Image) -> None:
    np.testing.assert_array_equal(decode(saved(image)).pixels, np.asarray(image.convert("RGB")))


def clear() -> Image.Image:
    image = RGB.convert("RGBA")
    image.putpixel((3, 4), (1, 2, 3, 254))
    return image


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (saved(clear()), BadImage, "partly transparent"),
        (saved(RGB.convert("CMYK"), "JPEG"), BadImage, "mode CMYK"),
        (saved(Image.fromarray(PIXELS[:, :, 0].astype(np.uint16) * 257)), BadImage, "16 bits per channel"),
        (saved(RGB, "WEBP", save_all=True, append_images=[GRAY.convert("RGB")]), BadImage, "an animation"),
        (saved(RGB.resize((112, 96))), WrongSize, "is 112x96"),
        (b"", NotAnImage, "is empty"),
        (b"<!DOCTYPE html>", NotAnImage, "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", NotAnImage, "a Git LFS pointer"),
        (b"\0\0\0\x18ftypheic", NotAnImage, "HEIC"),
        (saved(RGB, "TIFF"), NotAnImage, "a TIFF"),
    ],
)
def test_what_would_change_or_is_no_image_is_refused_by_what_it_is(
    data: bytes, kind: type[BadImage], said: str
) -> None:
    with pytest.raises(kind, match=said):
        decode(data)


@given(st.binary(max_size=40), st.integers(0, 3000))
def test_no_damage_raises_anything_but_a_refusal(rubbish: bytes, place: int) -> None:
    whole = saved(RGB, "JPEG")
    with suppress(BadImage):
        assert decode(whole[:place] + rubbish + whole[place + len(rubbish) :]).pixels.shape == (112, 112, 3)
