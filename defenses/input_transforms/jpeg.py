"""JPEG compression with a real codec, and with a differentiable one for adaptive attackers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from frbench.defenses.components.purifier import PurifierDefense, StraightThrough
from frbench.harness.core.contracts import Draw, Images
from frbench.harness.core.domains import JpegQuality
from frbench.harness.core.purifiers import Purifier, Sides
from frbench.harness.images.postprocessing import JpegFile


@dataclass(frozen=True)
class Jpeg:
    """Encode and decode as a JPEG file."""

    identity = "purifier.jpeg"
    version = 1

    quality: int

    differentiable = False
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return JpegFile(self.quality)(images).images


@dataclass(frozen=True)
class SoftJpeg:
    """kornia's JPEG codec with differentiable rounding (Reich et al., WACV 2024)."""

    identity = "purifier.soft_jpeg"
    version = 1

    quality: int

    differentiable = True
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        from kornia.enhance import jpeg_codec_differentiable

        quality = torch.tensor([float(self.quality)], dtype=images.dtype, device=images.device)
        return jpeg_codec_differentiable(images.contiguous(), quality)


@dataclass(frozen=True)
class JpegDefense(PurifierDefense):
    """JPEG compression at a libjpeg ``quality`` from 1 to 100."""

    identity = "defense.jpeg"
    version = 1

    quality: JpegQuality = 75
    apply_to: Sides = "both"

    def purifier(self) -> Purifier:
        return Jpeg(self.quality)

    def differentiable_purifiers(self) -> Mapping[str, Purifier]:
        return {
            "soft": SoftJpeg(self.quality),
            "soft_backward": StraightThrough(Jpeg(self.quality), SoftJpeg(self.quality)),
            "straight_through": StraightThrough(Jpeg(self.quality)),
        }
