"""What happens to an adversarial image on its way to a system: it is kept as a file, resized, detected again.

A ``Survival`` maps images to what arrives, and says whether a face arrived at all. Files hold 8 bits: values are
rounded, never truncated, which would turn a change of 2/255 into one of 3/255.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image

from frbench.harness.core.contracts import Images, Mask
from frbench.harness.core.domains import ImageSide, JpegQuality


class Survived(NamedTuple):
    """images: float32 (N, 3, H, W) in [0, 1], as they arrive; found: bool (N,), whether a face was found."""

    images: Images
    found: Mask


class Survival(Protocol):
    """A way that images take. Each image goes alone, so that its batch makes no difference."""

    def __call__(self, images: Images) -> Survived: ...


@dataclass(frozen=True)
class Png:
    """Kept as PNG, which loses nothing but the rounding to 8 bits: what arrives is ``round(255 x) / 255``."""

    identity = "postprocessing.png"
    version = 1

    def __call__(self, images: Images) -> Survived:
        return _arrived(images, lambda pixels: _file(pixels, "PNG", compress_level=1))


@dataclass(frozen=True)
class JpegFile:
    """Kept as JPEG by Pillow (libjpeg, 4:2:0) at ``quality`` 1 to 100."""

    identity = "postprocessing.jpeg"
    version = 1

    quality: JpegQuality

    def __call__(self, images: Images) -> Survived:
        return _arrived(images, lambda pixels: _file(pixels, "JPEG", quality=self.quality))


@dataclass(frozen=True)
class Resized:
    """Resized to ``side`` x ``side`` pixels and back, by Pillow's bilinear filter, with 8 bits at every station.

    Enlarging interpolates between the nearest pixels; shrinking averages over a triangle as wide as the factor
    demands (antialiasing).
    """

    identity = "postprocessing.resize"
    version = 1

    side: ImageSide = 160

    def __call__(self, images: Images) -> Survived:
        return _arrived(images, self._there_and_back)

    def _there_and_back(self, pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape[:2]
        way = Image.Resampling.BILINEAR
        return np.asarray(Image.fromarray(pixels).resize((self.side, self.side), way).resize((width, height), way))


def to_bytes(images: Images) -> np.ndarray:
    """Images float32 (N, 3, H, W) in [0, 1] as files hold them: uint8 (N, H, W, 3), rounded."""
    return images.detach().mul(255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def from_bytes(stack: np.ndarray, like: Images) -> Images:
    """A uint8 stack (N, H, W, 3) as images (N, 3, H, W) in [0, 1], of the type and on the device of ``like``."""
    return torch.from_numpy(stack).to(like.device).permute(0, 3, 1, 2).to(like.dtype).div_(255)


def _arrived(images: Images, way: Callable[[np.ndarray], np.ndarray]) -> Survived:
    """Each image, as uint8 (H, W, 3), through ``way``, which loses no face."""
    with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
        stack = np.stack(list(pool.map(way, to_bytes(images))))
    return Survived(from_bytes(stack, images), torch.ones(len(images), dtype=torch.bool, device=images.device))


def _file(pixels: np.ndarray, kind: str, **options: Any) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return np.asarray(Image.open(file))
