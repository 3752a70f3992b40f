"""Detects faces of every size in a photo: YuNet on tiles at several scales, merged by non-maximum suppression."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from frbench.datasets.alignment.align import CANVAS, Faces, face_detector, on_canvas, opencv, resized
from frbench.harness.core.domains import PositiveFraction, PositiveInt

_OVERLAP = 160  # pixels that neighbouring tiles share: a face of that size lies whole in one of them
_COARSEST = 320  # longest side of the smallest scale, at which a face that fills the photo is found
_SEEN = 24  # side of the aligned crop, in pixels of a tile, of the smallest face that YuNet finds reliably
_EDGE = 2  # pixels; a face that ends so near to where a tile was cut is only part of one
_SAME = 0.3  # intersection over union above which two detections are one face, as in YuNet itself


class Search(NamedTuple):
    """faces: those found. smallest: the side, in pixels of the photo, of the smallest aligned crop searched for."""

    faces: Faces
    smallest: float


@dataclass(frozen=True)
class TiledYuNet:
    """YuNet over a whole photo, however large.

    The photo is scaled to 320 pixels on its longest side, then to twice that and so on up to the finest scale. Each
    scale is cut into tiles of 640 pixels, the model's fixed input, that overlap by 160.

    model: the ONNX file. score: detections below it are dropped. smallest: side of the smallest face to search for, in
    pixels of the photo, measured on the aligned crop. YuNet found 63 of 64 CelebA faces of 24 pixels (score 0.6) and
    fewer below, so 24 searches a photo at its full size; larger values search large photos faster.
    """

    identity = "detector.tiled_yunet"
    version = 1

    model: str | Path
    score: PositiveFraction = 0.6
    smallest: PositiveInt = _SEEN

    def load(self) -> Callable[[np.ndarray], Search]:
        """Photo uint8 (H, W, 3), BGR -> its faces. Raises FrbenchError: OpenCV or the detector's file is missing."""
        network, merge = face_detector(self.model), opencv().dnn.NMSBoxes
        network.setScoreThreshold(self.score)

        def search(image: np.ndarray) -> Search:
            longest = max(image.shape[:2])
            sides, found = self._sides(longest), [np.zeros((0, 15))]
            for side in sides:
                scale = side / longest
                for x, y, tile in _tiles(resized(image, scale)):
                    rows = network.detect(on_canvas(tile.pixels))[1]
                    if rows is not None:
                        found.append(_placed(rows[_whole(rows, tile)], x, y, scale))
            rows = np.concatenate(found)
            kept = merge(rows[:, :4].tolist(), rows[:, 14].tolist(), self.score, _SAME)
            rows = rows[np.asarray(kept, int).reshape(-1)]
            return Search(Faces(rows[:, :4], rows[:, 4:14].reshape(-1, 5, 2)), _SEEN * longest / sides[-1])

        return search

    def _sides(self, longest: int) -> list[int]:
        """The longest side of the photo at each scale, rising. A small photo is enlarged to fill a tile."""
        finest = max(CANVAS, round(longest * min(1.0, _SEEN / self.smallest)))
        sides = [_COARSEST]
        while 2 * sides[-1] < finest:
            sides.append(2 * sides[-1])
        return [*sides, finest]


class _Tile(NamedTuple):
    """pixels: uint8 (h, w, 3). cut: whether the photo goes on to the left, above, to the right and below."""

    pixels: np.ndarray
    cut: np.ndarray


def _tiles(image: np.ndarray) -> Iterator[tuple[int, int, _Tile]]:
    """Left and upper edge of each tile, and the tile."""
    height, width = image.shape[:2]
    for y in _starts(height):
        for x in _starts(width):
            cut = np.array([x > 0, y > 0, x + CANVAS < width, y + CANVAS < height])
            yield x, y, _Tile(image[y : y + CANVAS, x : x + CANVAS], cut)


def _starts(length: int) -> range:
    return range(0, max(1, length - _OVERLAP), CANVAS - _OVERLAP)


def _whole(rows: np.ndarray, tile: _Tile) -> np.ndarray:
    """Which detections do not end at an edge where the tile was cut: a neighbour or a coarser scale has the rest."""
    left, top, width, height = rows[:, :4].T
    far = CANVAS - _EDGE
    at_edge = np.stack([left < _EDGE, top < _EDGE, left + width > far, top + height > far], 1)
    whole: np.ndarray = ~(at_edge & tile.cut).any(1)
    return whole


def _placed(rows: np.ndarray, x: int, y: int, scale: float) -> np.ndarray:
    """Detections (n, 15) of a tile in pixels of the photo."""
    placed = rows.astype(np.float64)
    placed[:, [0, *range(4, 14, 2)]] += x
    placed[:, [1, *range(5, 14, 2)]] += y
    placed[:, :14] /= scale
    return placed
