"""JPEG compression: a real codec judges, a differentiable one stands in for it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from frbench.defenses.purification import PurifierDefense, StraightThrough
from frbench.harness.contracts import Draw, Images
from frbench.harness.verifiers import Purifier, Sides


@dataclass(frozen=True)
class Jpeg:
    """Encode and decode by Pillow (libjpeg, 4:2:0), image by image as files are."""

    quality: int

    differentiable = False
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        pixels = images.mul(255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
            stack = np.stack(list(pool.map(self._round_trip, pixels)))
        return torch.from_numpy(stack).to(images.device).permute(0, 3, 1, 2).to(images.dtype).div_(255)

    def _round_trip(self, pixels: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=self.quality)
        return np.asarray(Image.open(file))


@dataclass(frozen=True)
class SoftJpeg:
    """kornia's codec with a differentiable rounding (Reich et al., WACV 2024)."""

    quality: int

    differentiable = True
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        from kornia.enhance import jpeg_codec_differentiable

        quality = torch.tensor([float(self.quality)], dtype=images.dtype, device=images.device)
        return jpeg_codec_differentiable(images.contiguous(), quality)


@dataclass(frozen=True)
class JpegDefense(PurifierDefense):
    """``quality`` 1 to 100, as libjpeg counts it."""

    quality: int = 75
    purify: Sides = "both"

    def purifier(self) -> Purifier:
        return Jpeg(self.quality)

    def stand_ins(self) -> Mapping[str, Purifier]:
        return {
            "soft": SoftJpeg(self.quality),
            "soft_backward": StraightThrough(Jpeg(self.quality), SoftJpeg(self.quality)),
            "straight_through": StraightThrough(Jpeg(self.quality)),
        }
