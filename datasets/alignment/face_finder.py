"""Finds all faces of a photo and aligns them, with the similarity transform of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from frbench.datasets.alignment.align import estimate, norm_crop
from frbench.datasets.alignment.tiled_yunet import TiledYuNet
from frbench.harness.images.pasting import Aligned


@dataclass(frozen=True)
class FaceFinder:
    """Every face that ``detector`` finds, aligned as data sets are."""

    identity = "detector.face_finder"
    version = 1

    detector: TiledYuNet

    def load(self) -> Callable[[np.ndarray], Aligned]:
        """Photo uint8 (H, W, 3), RGB -> its faces. Raises FrbenchError: OpenCV or the detector's file is missing."""
        search = self.detector.load()

        def find(photo: np.ndarray) -> Aligned:
            image = np.ascontiguousarray(photo[:, :, ::-1])
            found = search(image)
            landmarks = found.faces.landmarks
            matrices = estimate(landmarks)
            usable = np.isfinite(matrices).all(axis=(1, 2))
            crops = [norm_crop(image, each)[:, :, ::-1] for each in landmarks[usable]]
            return Aligned(np.array(crops, np.uint8).reshape(-1, 112, 112, 3), matrices[usable], found.smallest)

        return find
