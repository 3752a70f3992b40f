"""The camera of a synthetic photograph: tone, blur, sensor noise, and the losses of JPEG."""

from __future__ import annotations

import math
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.nn import functional

from frbench.harness.core.contracts import Draw
from frbench.harness.core.counter_rng import Stream, uniform

# Annex K of ITU-T T.81, the luminance table that most encoders scale.
_QUANTISATION = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


def tone(light: Tensor, s: SimpleNamespace) -> Tensor:
    """Linear light to display values in [0, 1]: exposure, a soft shoulder, saturation, gamma."""
    x = light * s.exposure.unsqueeze(1)
    gray = (x * torch.tensor([0.2126, 0.7152, 0.0722]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    x = (gray + (x - gray) * s.saturation.unsqueeze(1)).clamp_(min=0)
    x = x * (1 + 0.12 * x) / (1 + 0.42 * x)
    return torch.exp2(torch.log2(x + 1e-5) * (s.gamma.unsqueeze(1) / 2.2))


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with its own sigma (N, 1, 1) for each image."""
    n, _, h, w = images.shape
    offsets = torch.arange(-3, 4, dtype=torch.float32)
    kernel = torch.exp(-(offsets**2) / (2 * (sigma.view(n, 1).clamp(min=0.05) ** 2)))
    kernel = (kernel / kernel.sum(1, keepdim=True)).view(n, 1, 7)
    padded = functional.pad(images, (3, 3, 3, 3), mode="replicate")
    across = sum(kernel[:, :, i, None, None] * padded[:, :, :, i : i + w] for i in range(7))
    assert isinstance(across, Tensor)
    down = sum(kernel[:, :, i, None, None] * across[:, :, i : i + h] for i in range(7))
    assert isinstance(down, Tensor)
    return down


def sensor_noise(key: Tensor, seed: int, sigma: Tensor, size: int) -> Tensor:
    """Triangular noise (N, 3, size, size) of deviation ``sigma`` (N, 1, 1), cheaper than normal and as good here."""
    u = uniform(key, Draw(seed, Stream.SENSOR_NOISE), (3, size, size)) * 2 - 1
    return torch.copysign(1 - torch.sqrt(1 - u.abs()), u) * (sigma.unsqueeze(1) * math.sqrt(6))


def compress(images: Tensor, strength: Tensor) -> Tensor:
    """Round the 8x8 cosine transform of luminance as JPEG does; ``strength`` (N, 1, 1) scales the table."""
    n, _, h, w = images.shape
    k = torch.arange(8, dtype=torch.float64)
    basis = torch.cos(math.pi / 8 * (k[None] + 0.5) * k[:, None]) * 0.5
    basis[0] /= math.sqrt(2)
    dct = basis.float()
    luma = (images * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1)
    blocks = luma.view(n, h // 8, 8, w // 8, 8).transpose(2, 3) * 255
    table = torch.tensor(_QUANTISATION, dtype=torch.float32) * strength.view(n, 1, 1, 1, 1)
    coefficients = dct @ blocks @ dct.T
    rounded = torch.round(coefficients / table) * table
    change = (dct.T @ (rounded - coefficients) @ dct) / 255
    return images + change.transpose(2, 3).reshape(n, 1, h, w)
