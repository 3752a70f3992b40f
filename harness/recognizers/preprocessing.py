"""What happens to an image between the project's [0, 1] RGB and the numbers that a network was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional

from frbench.harness.contracts import Embeddings, Images
from frbench.harness.errors import FrbenchError


@dataclass(frozen=True)
class Preprocessing:
    """``(scale * images - mean) / std`` after resizing to ``size`` and, with ``bgr``, swapping the channels.

    mean, std: one number or one per RGB channel, in units of ``scale`` (1: [0, 1]; 255: gray levels).
    size:      side of the square that the network takes; other sizes are resized bilinearly.
    """

    mean: float | Sequence[float] = 0.0
    std: float | Sequence[float] = 1.0
    scale: float = 1.0
    size: int = 112
    bgr: bool = False

    def __call__(self, images: Images) -> Images:
        """Images float32 (N, 3, H, W) in [0, 1], RGB -> the network's input (N, 3, size, size)."""
        check_images(images)
        if images.shape[-2:] != (self.size, self.size):
            images = functional.interpolate(images, size=(self.size, self.size), mode="bilinear")
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
            "size": int(self.size),
            "bgr": bool(self.bgr),
        }

    def _gain_and_shift(self) -> tuple[list[float], list[float]]:
        mean, std = (torch.atleast_1d(torch.tensor(_plain(v), dtype=torch.float64)) for v in (self.mean, self.std))
        return (self.scale / std).tolist(), (mean / std).tolist()


def _per_channel(values: list[float], images: Images) -> torch.Tensor | float:
    if len(values) == 1:
        return values[0]
    return torch.tensor(values, dtype=images.dtype, device=images.device).view(1, -1, 1, 1)


def _plain(value: float | Sequence[float]) -> float | list[float]:
    return float(value) if isinstance(value, int | float) else [float(number) for number in value]


def check_images(images: Images) -> None:
    """Refuse what is not a batch of RGB images; the range is the caller's business (it costs a pass)."""
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise FrbenchError(
            f"a recognizer was given {images.dtype} of shape {tuple(images.shape)}: "
            "expected float RGB images (N, 3, H, W) in [0, 1]; add the batch dimension or convert them"
        )


def unit_length(raw: torch.Tensor) -> Embeddings:
    """Raw network output (N, ...) -> float32 (N, D) of unit length; a zero vector stays zero."""
    return functional.normalize(raw.flatten(1).float(), dim=1)
