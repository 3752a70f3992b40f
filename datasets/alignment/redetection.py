"""Post-processing by a face-recognition system: detects the face in an image and aligns it again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from frbench.datasets.alignment.align import Detect, YuNet, most_prominent, norm_crop
from frbench.harness.core.contracts import Images
from frbench.harness.core.domains import CanvasMargin
from frbench.harness.images.eight_bit import from_bytes, to_bytes
from frbench.harness.images.postprocessing import Postprocessed


@dataclass(frozen=True)
class Redetected:
    """The crop on a larger canvas with 8 bits, its most prominent face detected, cropped and aligned again.

    margin: width of the canvas around the crop, in sides of the crop, filled by repeating the crop's border pixels.
    Where no face is found, ``found`` is False and the image stays as it was.

    On clean CelebA crops a face is found in all, and the cosine to the crop is 0.93 on average (MobileFaceNet) for any
    margin from 0.25 to 0.75 and on a gray canvas alike: two detectors do not see the landmarks in the same places.
    Give ``detector`` passes with scores of 0.6 and more: lower ones, useful for difficult photos, find faces in noise.
    """

    identity = "postprocessing.redetection"
    version = 1

    detector: YuNet
    margin: CanvasMargin = 0.5

    def __call__(self, images: Images) -> Postprocessed:
        """Raises FrbenchError: OpenCV or the detector's file is missing."""
        detect = self.detector.load()
        stack = to_bytes(images)
        crops = [self._crop(pixels, detect) for pixels in stack]
        found = torch.tensor([crop is not None for crop in crops], dtype=torch.bool, device=images.device)
        aligned = np.stack([pixels if crop is None else crop for crop, pixels in zip(crops, stack, strict=True)])
        return Postprocessed(torch.where(found[:, None, None, None], from_bytes(aligned, images), images), found)

    def _crop(self, pixels: np.ndarray, detect: Detect) -> np.ndarray | None:
        """The aligned crop, as large as ``pixels`` uint8 (H, H, 3), or None where no face is found."""
        side = len(pixels)
        around = round(self.margin * side)
        canvas = np.pad(pixels[:, :, ::-1], ((around, around), (around, around), (0, 0)), mode="edge")
        landmarks = most_prominent(detect(canvas), *canvas.shape[:2])
        return None if landmarks is None else norm_crop(canvas, landmarks, side)[:, :, ::-1]
