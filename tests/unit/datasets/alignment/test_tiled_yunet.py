"""Faces of every size in large photos: how a photo is cut into tiles, and what YuNet finds on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from frbench.datasets.alignment import tiled_yunet as tiles
from frbench.datasets.alignment.face_finder import FaceFinder
from frbench.datasets.alignment.tiled_yunet import TiledYuNet

pytest.importorskip("cv2")


@settings(max_examples=200)
@given(st.integers(1, 3000), st.integers(1, 3000), st.data())
def test_that_every_face_no_larger_than_the_overlap_lies_whole_in_a_tile(
    height: int, width: int, data: st.DataObject
) -> None:
    side = data.draw(st.integers(1, min(150, height, width)))
    x, y = data.draw(st.integers(0, width - side)), data.draw(st.integers(0, height - side))
    whole = 0
    for left, top, tile in tiles._tiles(np.zeros((height, width), np.uint8)):
        row = np.zeros((1, 15))
        row[0, :4] = x - left, y - top, side, side
        inside = x >= left and y >= top and x + side <= left + 640 and y + side <= top + 640
        whole += bool(inside and tiles._whole(row, tile)[0])
    assert whole >= 1


@pytest.mark.parametrize(
    ("longest", "smallest", "sides"),
    [
        (4608, 24, [320, 640, 1280, 2560, 4608]),
        (4608, 96, [320, 640, 1152]),
        (4608, 1000, [320, 640]),
        (500, 24, [320, 640]),
        (1000, 24, [320, 640, 1000]),
    ],
)
def test_that_scales_double_up_to_the_finest_that_is_needed(longest: int, smallest: int, sides: list[int]) -> None:
    assert TiledYuNet("absent.onnx", smallest=smallest)._sides(longest) == sides


@pytest.fixture
def group(real_data: Path) -> tuple[np.ndarray, dict[int, tuple[float, float]]]:
    """A photo of 1500 x 2600 pixels with faces of several sizes on a plain ground: side -> middle."""
    people = sorted((real_data / "celeba" / "aligned_112").iterdir())[10:210:50]
    canvas = np.full((1500, 2600, 3), (120, 128, 110), np.uint8)
    places = {}
    corners = {1000: (100, 300), 240: (1500, 150), 60: (1590, 900), 32: (2300, 1310)}
    for folder, (side, (x, y)) in zip(people, corners.items(), strict=True):
        crop = Image.open(sorted(folder.glob("*.jpg"))[0]).convert("RGB").resize((side, side))
        canvas[y : y + side, x : x + side] = np.asarray(crop)
        places[side] = (x + side / 2, y + side / 2)
    return canvas, places


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("smallest", "searched", "found"),
    [(24, 24, [32, 60, 240, 1000]), (160, 24 * 2600 / 640, [240, 1000])],  # a whole tile is always searched
)
def test_that_small_faces_of_a_large_photo_are_found_each_once(
    group: tuple[np.ndarray, dict], smallest: int, searched: float, found: list[int], real_data: Path
) -> None:
    photo, places = group
    detector = TiledYuNet(real_data / "models" / "yunet_n_640_640.onnx", smallest=smallest)
    faces = FaceFinder(detector).load()(photo)
    order = np.argsort(faces.sides)
    assert faces.sides[order] == pytest.approx(found, rel=0.15)
    wanted = np.array([places[side] for side in found])
    assert (np.abs(faces.centres[order] - wanted).max(axis=1) < 0.15 * np.array(found)).all()
    assert faces.smallest == pytest.approx(searched)
