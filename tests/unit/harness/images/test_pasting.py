"""Changes of aligned faces in the photo: aligning anew sees them, and nobody sees where they end."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from frbench.harness.images.pasting import RAMP, Aligned, paste, window

cv2 = pytest.importorskip("cv2")
INNER = slice(RAMP, -RAMP)


def similarity(side: float, angle: float = 0, middle: tuple[float, float] = (250, 200)) -> np.ndarray:
    """Photo to crop, of a face whose crop spans ``side`` pixels of the photo, turned, with its middle there."""
    scale, turn = 112 / side, np.deg2rad(angle)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.concatenate([matrix, (55.5 - matrix @ np.array(middle))[:, None]], 1)


def photo(height: int = 400, width: int = 500) -> np.ndarray:
    """Mid gray with a little texture: room for every change, so that nothing is clipped."""
    noise = np.random.default_rng(0).integers(100, 156, (height, width, 3))
    return noise.astype(np.uint8)


def change(smoothness: float = 1.0, seed: int = 1) -> Tensor:
    """(1, 3, 112, 112), at most 15 gray levels."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(3, 112, 112)), (0, smoothness, smoothness))
    return torch.from_numpy(noise / np.abs(noise).max() * 15 / 255).float()[None]


def seen(before: np.ndarray, after: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The change (3, 112, 112) that OpenCV's alignment sees between two photos, in parts of 255."""
    difference = after.astype(np.float32) - before
    warped: np.ndarray = cv2.warpAffine(difference, matrix, (112, 112)).transpose(2, 0, 1) / 255
    return warped


@pytest.mark.parametrize(("side", "angle"), [(112, 0), (112, 17), (150, -40), (230, 17), (390, 0)])
def test_that_aligning_anew_sees_the_change(side: int, angle: float) -> None:
    matrix = similarity(side, angle)
    wanted = change(1.5)
    found = seen(photo(), paste(photo(), wanted, matrix[None]), matrix)
    error = np.abs(found - wanted[0].numpy())[:, INNER, INNER]
    assert np.median(error) < 0.5 / 255, "beyond rounding to 8 bits"
    assert np.quantile(error, 0.99) < 2.5 / 255


def test_that_a_face_smaller_than_its_crop_shows_what_its_pixels_can() -> None:
    wanted = change(3.0)
    explained = []
    for side in (112, 70, 40):
        matrix = similarity(side, 5)
        found = seen(photo(), paste(photo(), wanted, matrix[None]), matrix)[:, INNER, INNER]
        rest = found - wanted[0].numpy()[:, INNER, INNER]
        explained.append(1 - (rest**2).sum() / (wanted[0, :, INNER, INNER].numpy() ** 2).sum())
    assert explained[0] > explained[1] > explained[2] > 0.8


def test_that_a_change_comes_back_better_than_by_plain_enlarging(monkeypatch: pytest.MonkeyPatch) -> None:
    """The corrections are worth their time: without them a sharp change is blurred by aligning anew."""
    matrix, wanted = similarity(112, 20), change(0.7)

    def error() -> float:
        found = seen(photo(), paste(photo(), wanted, matrix[None]), matrix)
        return float(np.abs(found - wanted[0].numpy())[:, INNER, INNER].mean())

    corrected = error()
    monkeypatch.setattr("frbench.harness.images.pasting._ROUNDS", 0)
    assert corrected < 0.7 * error()


def test_that_pixels_away_from_the_faces_stay_bit_for_bit() -> None:
    matrices = np.stack([similarity(120, 10, (120, 100)), similarity(90, -20, (350, 250))])
    after = paste(photo(), change().repeat(2, 1, 1, 1), matrices)
    inside = np.zeros((400, 500), bool)
    for matrix in matrices:
        y, x = np.mgrid[0:400, 0:500]
        mapped = np.stack([x, y], -1) @ matrix[:, :2].T + matrix[:, 2]
        inside |= ((mapped > -1) & (mapped < 112)).all(-1)
    assert np.array_equal(after[~inside], photo()[~inside])
    assert (after[inside] != photo()[inside]).mean() > 0.5
    assert photo().dtype == after.dtype == np.uint8


def test_that_a_change_fades_out_towards_the_border_of_its_square() -> None:
    flat = torch.full((1, 3, 112, 112), 20 / 255)
    steps = np.diff(paste(photo() * 0 + 100, flat, similarity(224)[None])[200, :, 0].astype(int))
    assert np.abs(steps).max() <= 3, "an edge of 20 gray levels in one step would be seen"
    assert (np.sign(steps)[np.nonzero(steps)] == [1] * (steps > 0).sum() + [-1] * (steps < 0).sum()).all()


def test_that_the_window_is_whole_inside_and_nothing_at_the_border() -> None:
    weights = window(112)
    assert weights[INNER, INNER].eq(1).all()
    assert weights[0].eq(0).all() and weights[:, -1].eq(0).all()
    assert torch.equal(weights, weights.T) and torch.equal(weights, weights.flip(0))


@pytest.mark.parametrize("middle", [(5, 10), (490, 410), (-500, 20), (100, 4000)])
def test_that_a_face_over_the_edge_of_the_photo_or_outside_is_no_trouble(middle: tuple[float, float]) -> None:
    after = paste(photo(), change(), similarity(130, 12, middle)[None])
    assert after.shape == photo().shape
    assert np.abs(after.astype(int) - photo()).max() <= 16


def test_that_no_pixel_is_changed_more_than_the_face_was() -> None:
    wanted = change(0.0)
    for side in (30, 80, 112, 300):
        after = paste(photo(), wanted, similarity(side, 33)[None])
        assert np.abs(after.astype(int) - photo()).max() <= 15


def test_that_black_and_white_stay_within_the_file() -> None:
    for level in (0, 255):
        flat = np.full((200, 200, 3), level, np.uint8)
        after = paste(flat, change(), similarity(150, 0, (100, 100))[None])
        assert np.abs(after.astype(int) - level).max() <= 15


def test_that_faces_know_their_size_and_their_middle() -> None:
    faces = Aligned(np.zeros((2, 112, 112, 3), np.uint8), np.stack([similarity(224, 30), similarity(56, 0, (90, 70))]))
    assert faces.sides == pytest.approx([224, 56])
    assert faces.centres == pytest.approx(np.array([[250, 200], [90, 70]]))
