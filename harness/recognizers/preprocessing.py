"""Preprocessing of images, RGB in [0, 1], to the input that a network was trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as functional
from annotated_types import Len

from frbench.harness.core.contracts import Embeddings, Images
from frbench.harness.core.domains import AnyFloat, ImageSide, Positive
from frbench.harness.core.errors import ConfigError, FrbenchError

FEEDING = ("mean", "std", "scale", "size", "bgr", "prefix", "preprocessing")  # mean the same in every recognizer
Mean = AnyFloat | Annotated[Sequence[AnyFloat], Len(3, 3)]  # one number, or one per RGB channel
Deviation = Positive | Annotated[Sequence[Positive], Len(3, 3)]
Size = ImageSide | Annotated[Sequence[ImageSide], Len(2, 2)]  # the side of a square, or (height, width)


@dataclass(frozen=True)
class Preprocessing:
    """``(scale * images - mean) / std`` after fitting to ``size`` and, with ``bgr``, swapping the channels.

    mean, std: one number or one per RGB channel, in units of ``scale`` (1: [0, 1]; 255: gray levels).
    size:      what the network takes, the side of a square or (height, width). Images of another size are resized
               bilinearly until they cover it, and cut to their middle: a 112x96 network gets the middle columns of the
               112x112 crop, as the five-point templates of SphereFace (112x96) and ArcFace (112x112) have it.

    Raises FrbenchError: a number that is no mean, deviation, scale or size.
    """

    mean: Mean = 0.0
    std: Deviation = 1.0
    scale: Positive = 1.0
    size: Size = 112
    bgr: bool = False

    def __post_init__(self) -> None:
        for name, value in (("mean", self.mean), ("std", self.std)):
            numbers = _listed(value)
            if len(numbers) not in (1, 3) or not all(map(math.isfinite, numbers)) or (name == "std" and 0 in numbers):
                wanted = "one finite number or one per RGB channel" + (", none of them 0" if name == "std" else "")
                raise ConfigError(f"recognizer.{name}={value}, expected {wanted}")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ConfigError(f"recognizer.scale={self.scale}, expected the value of white, such as 1 or 255")
        sides = [self.size, self.size] if isinstance(self.size, int) else list(self.size)
        if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
            raise ConfigError(f"recognizer.size={self.size}, expected one side in pixels, or [HEIGHT,WIDTH]")

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width of the network's input in pixels."""
        height, width = self.size if isinstance(self.size, Sequence) else (self.size, self.size)
        return height, width

    def __call__(self, images: Images) -> Images:
        """Images float32 (N, 3, H, W) in [0, 1], RGB -> the network's input (N, 3, *height_width)."""
        check_images(images)
        images = fitted_to(images, self.height_width)
        gain, shift = self._gain_and_shift()
        if (gain, shift) != ([1.0], [0.0]):
            images = images * _per_channel(gain, images) - _per_channel(shift, images)
        return images.flip(1) if self.bgr else images

    def facts(self) -> dict[str, Any]:
        """The fields as plain numbers, for a fingerprint."""
        return {
            "mean": _plain(self.mean),
            "std": _plain(self.std),
            "scale": float(self.scale),
            "size": self.size if isinstance(self.size, int) else list(self.height_width),
            "bgr": bool(self.bgr),
        }

    def _gain_and_shift(self) -> tuple[list[float], list[float]]:
        mean, std = (torch.atleast_1d(torch.tensor(_plain(v), dtype=torch.float64)) for v in (self.mean, self.std))
        return (self.scale / std).tolist(), (mean / std).tolist()


def fitted_to(images: Images, size: tuple[int, int]) -> Images:
    """Images (N, C, H, W), resized bilinearly until they cover ``size``, and cut to their middle (N, C, *size)."""
    old = (images.shape[-2], images.shape[-1])
    grown = max(new / side for new, side in zip(size, old, strict=True))
    cover = [max(new, round(side * grown)) for new, side in zip(size, old, strict=True)]
    if cover != list(old):
        images = functional.interpolate(images, size=cover, mode="bilinear")
    top, left = ((side - new) // 2 for new, side in zip(size, cover, strict=True))
    return images[..., top : top + size[0], left : left + size[1]]


def _per_channel(values: list[float], images: Images) -> torch.Tensor | float:
    if len(values) == 1:
        return values[0]
    return torch.tensor(values, dtype=images.dtype, device=images.device).view(1, -1, 1, 1)


def _plain(value: float | Sequence[float]) -> float | list[float]:
    return float(value) if isinstance(value, int | float) else [float(number) for number in value]


def _listed(value: float | Sequence[float]) -> Sequence[float]:
    return [value] if isinstance(value, int | float) else value


def check_images(images: Images) -> None:
    """Raises FrbenchError: ``images`` is not a batch of RGB images; their range is not checked."""
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise FrbenchError(
            f"a recognizer was given {images.dtype} of shape {tuple(images.shape)}: "
            "expected float RGB images (N, 3, H, W) in [0, 1]; add the batch dimension or convert them"
        )


def unit_length(raw: torch.Tensor) -> Embeddings:
    """Raw network output (N, ...) -> float32 (N, D) of unit length; a zero vector stays zero."""
    return functional.normalize(raw.flatten(1).float(), dim=1)
