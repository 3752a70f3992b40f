"""Pastes changes of aligned crops into the photo that the crops come from. Photos are uint8 (H, W, 3), RGB.

A matrix (2, 3) maps pixels (x, y) of a photo to those of an aligned crop by a similarity transform. Only the change is
pasted, not the crop, so that the photo keeps its sharpness, and pixels away from the face keep their values.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

RAMP = 8  # pixels along the border of the crop over which the change fades out, to avoid a visible edge
_ROUNDS = 3  # corrections by the difference that a new alignment would show


class Aligned(NamedTuple):
    """F faces of a photo.

    Attributes:
        crops: uint8 (F, S, S, 3), RGB.
        matrices: float64 (F, 2, 3), from the photo to the crop.
        smallest: side, in pixels of the photo, of the smallest face that the detector can find; see ``sides``.
    """

    crops: np.ndarray
    matrices: np.ndarray
    smallest: float = 0.0

    @property
    def sides(self) -> np.ndarray:
        """Side (F,) of each crop in pixels of the photo."""
        return self.crops.shape[1] / np.hypot(self.matrices[:, 0, 0], self.matrices[:, 1, 0])

    @property
    def centres(self) -> np.ndarray:
        """Centre (F, 2) of each crop in the photo, x then y."""
        middle = (self.crops.shape[1] - 1) / 2
        return np.array([_through(_inverse(matrix), np.array([[middle, middle]]))[0] for matrix in self.matrices])


def paste(photo: np.ndarray, changes: Tensor, matrices: np.ndarray) -> np.ndarray:
    """Add ``changes`` (F, 3, S, S), on the scale [0, 1], to the faces of ``photo``, rounded to 8 bits.

    A new alignment of the result shows the changes as closely as the pixels of the photo allow; a face smaller than
    its crop shows less. Pixels outside the squares of the crops keep their values.
    """
    pasted = photo.copy()
    for change, matrix in zip(changes.detach().cpu().float(), matrices, strict=True):
        rows, columns = _place(matrix, change.shape[-1], *photo.shape[:2])
        if rows.start == rows.stop or columns.start == columns.stop:
            continue
        patch = _patch(change * window(change.shape[-1]), matrix, rows, columns)
        region = torch.from_numpy(pasted[rows, columns]).float() + patch.mul(255).permute(1, 2, 0)
        pasted[rows, columns] = region.round_().clamp_(0, 255).to(torch.uint8).numpy()
    return pasted


def window(side: int, ramp: int = RAMP) -> Tensor:
    """Weights (side, side), 1 inside and falling smoothly to 0 at the border."""
    edge = torch.minimum(torch.arange(side), torch.arange(side).flip(0)).div(ramp).clamp(0, 1)
    smooth = edge * edge * (3 - 2 * edge)
    return smooth[:, None] * smooth


def _patch(change: Tensor, matrix: np.ndarray, rows: slice, columns: slice) -> Tensor:
    """``change`` (3, S, S) as pixels (3, h, w) of a region of the photo.

    The change is resampled with bicubic interpolation, then corrected a few times by the difference that the bilinear
    sampling of an alignment would show (iterative back-projection).
    """
    side, shape = change.shape[-1], (rows.stop - rows.start, columns.stop - columns.start)
    corner = np.array([columns.start, rows.start])
    finer = max(1, math.ceil(np.hypot(matrix[0, 0], matrix[1, 0]) - 0.1))
    into_crop = _grid(_through(matrix, _pixels(shape, finer) + corner), (side, side))
    into_photo = _grid(_through(_inverse(matrix), _pixels((side, side))) - corner, shape)
    patch, bound = torch.zeros(3, *shape), float(change.abs().max())
    for _ in range(1 + _ROUNDS):
        missing = change - _sampled(patch, into_photo, "bilinear")
        patch += avg_pool2d(_sampled(missing, into_crop, "bicubic"), finer)
    return patch.clamp_(-bound, bound)


def _place(matrix: np.ndarray, side: int, height: int, width: int) -> tuple[slice, slice]:
    """The rows and columns of the photo that a crop covers; empty where the crop lies outside."""
    corners = _through(_inverse(matrix), np.array([[0, 0], [side - 1, 0], [0, side - 1], [side - 1, side - 1]]))
    (left, top), (right, bottom) = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int) + 1
    rows, columns = np.clip([top, bottom], 0, height), np.clip([left, right], 0, width)
    return slice(*map(int, rows)), slice(*map(int, columns))


def _pixels(shape: tuple[int, int], finer: int = 1) -> np.ndarray:
    """Centres (h * finer, w * finer, 2), x then y, of pixels that are divided ``finer`` times per side."""
    y, x = (np.arange(length * finer) / finer + 0.5 / finer - 0.5 for length in shape)
    return np.stack(np.meshgrid(x, y), -1)


def _grid(points: np.ndarray, shape: tuple[int, int]) -> Tensor:
    """Points (h, w, 2) in pixels of an image of ``shape``, in the coordinates of ``grid_sample``."""
    height, width = shape
    return torch.from_numpy((2 * points + 1) / np.array([width, height]) - 1).float()


def _sampled(image: Tensor, grid: Tensor, mode: str) -> Tensor:
    return grid_sample(image[None], grid[None], mode, padding_mode="zeros", align_corners=False)[0]


def _through(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    mapped: np.ndarray = points @ matrix[:, :2].T + matrix[:, 2]
    return mapped


def _inverse(matrix: np.ndarray) -> np.ndarray:
    turn = np.linalg.inv(matrix[:, :2])
    return np.concatenate([turn, -turn @ matrix[:, 2:]], 1)
