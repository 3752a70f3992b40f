"""Image post-processing before the victim: PNG, JPEG, resizing; datasets add re-detection.

A ``Postprocessing`` maps adversarial images to the images that the victim receives, and reports where it still finds
a face.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image

from frbench.harness.core.contracts import Images, Mask
from frbench.harness.core.domains import ImageSide, JpegQuality
from frbench.harness.images.eight_bit import from_bytes, to_bytes


class Postprocessed(NamedTuple):
    """What the victim receives.

    Attributes:
        images: float32 (N, 3, H, W) in [0, 1].
        found: bool (N,), whether a face was found.
    """

    images: Images
    found: Mask


class Postprocessing(Protocol):
    """A transform of each image alone, whatever its batch."""

    def __call__(self, images: Images) -> Postprocessed: ...


@runtime_checkable
class AlignsFaces(Postprocessing, Protocol):
    """A transform that detects the face, which is slow, and aligns the image to its landmarks, which is fast.

    Landmarks are float64 (N, 5, 2), x then y in pixels, NaN where no face is found. They depend only on the images
    rounded to 8 bits.
    """

    def locate(self, images: Images) -> np.ndarray: ...

    def align(self, images: Images, landmarks: np.ndarray) -> Postprocessed: ...


@dataclass(frozen=True)
class Png:
    """PNG file, lossless up to 8 bits: ``round(255 x) / 255``."""

    identity = "postprocessing.png"
    version = 1

    def __call__(self, images: Images) -> Postprocessed:
        return _found(np.ascontiguousarray(to_bytes(images)), images)


@dataclass(frozen=True)
class JpegFile:
    """JPEG file, encoded by Pillow (libjpeg, 4:2:0) at ``quality`` 1 to 100."""

    identity = "postprocessing.jpeg"
    version = 1

    quality: JpegQuality

    def __call__(self, images: Images) -> Postprocessed:
        return _each(images, self._through_file)

    def _through_file(self, pixels: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=self.quality)
        return np.asarray(Image.open(file))


@dataclass(frozen=True)
class Resized:
    """Resizing to ``side`` x ``side`` pixels and back with Pillow's bilinear filter, in 8 bits.

    Enlarging interpolates between the nearest pixels; shrinking averages with a triangular filter as wide as the
    factor requires (antialiasing).
    """

    identity = "postprocessing.resize"
    version = 1

    side: ImageSide = 160

    def __call__(self, images: Images) -> Postprocessed:
        return _each(images, self._resize)

    def _resize(self, pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape[:2]
        bilinear = Image.Resampling.BILINEAR
        small = Image.fromarray(pixels).resize((self.side, self.side), bilinear)
        return np.asarray(small.resize((width, height), bilinear))


def _each(images: Images, transform: Callable[[np.ndarray], np.ndarray]) -> Postprocessed:
    """``transform`` each image, as uint8 (H, W, 3); a face is found in all."""
    with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
        return _found(np.stack(list(pool.map(transform, to_bytes(images)))), images)


def _found(stack: np.ndarray, images: Images) -> Postprocessed:
    """The images uint8 (N, H, W, 3) in the dtype of ``images``; a face is found in all."""
    return Postprocessed(from_bytes(stack, images), torch.ones(len(images), dtype=torch.bool, device=images.device))
