"""Pictures as data URIs."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO

import numpy as np
from PIL import Image

from frbench.harness.reporting.html.blocks import Picture, Pictures
from frbench.harness.reporting.html.picture_files import PictureBudget, data_uri


def test_a_picture_keeps_each_gray_level() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    head, data = data_uri(levels / np.float32(255)).split(",")
    assert head == "data:image/webp;base64"
    assert np.array_equal(np.asarray(Image.open(BytesIO(b64decode(data)))), levels)


def test_values_out_of_range_are_clipped() -> None:
    image = np.array([[[-3.0, 0.5, 7.0], [np.nan, np.inf, -np.inf]]])
    data = b64decode(data_uri(image).split(",")[1])
    assert np.asarray(Image.open(BytesIO(data))).tolist() == [[[0, 128, 255], [0, 255, 0]]]


def test_a_strip_is_shown_whole_or_not_at_all_and_none_after_the_first_that_is_not() -> None:
    strip = Pictures("pgd", (Picture(np.zeros((2, 2, 3)), "black", "a"), Picture(np.ones((2, 2, 3)), "white", "b")))
    size = sum(map(len, PictureBudget(10**6).uris(strip) or []))
    budget = PictureBudget(2 * size + size // 2)
    assert [
        uris is None for uris in (budget.uris(strip), budget.uris(strip), budget.uris(strip), budget.uris(strip))
    ] == [
        False,
        False,
        True,
        True,
    ]
