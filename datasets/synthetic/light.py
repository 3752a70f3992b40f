"""Light on a synthetic head: a lamp with a soft shadow, a sky, and hollows that see little of it."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor
from torch.nn import functional

from frbench.datasets.synthetic.paint import colour
from frbench.datasets.synthetic.shape import SIZE, normals


def light_direction(s: SimpleNamespace) -> tuple[Tensor, Tensor, Tensor]:
    """Unit vector to the lamp in camera coordinates, y down."""
    return s.light_turn.sin() * s.light_height.cos(), -s.light_height.sin(), s.light_turn.cos() * s.light_height.cos()


def shadow(near: Tensor, light: tuple[Tensor, Tensor, Tensor], soft: Tensor) -> Tensor:
    """How much of the lamp reaches each pixel: the depth map is walked towards the light."""
    grid = (torch.arange(SIZE, dtype=torch.float32) * 2 + 1) / SIZE - 1
    lx, ly, lz = light
    hidden = torch.zeros_like(near)
    for step in (3.0, 6.0, 10.0, 15.0, 21.0, 28.0):
        gx = (grid[None, None, :] + step * 2 / SIZE * lx).expand_as(near)
        gy = (grid[None, :, None] + step * 2 / SIZE * ly).expand_as(near)
        there = functional.grid_sample(
            near[:, None], torch.stack([gx, gy], -1), padding_mode="border", align_corners=False
        )[:, 0]
        above = (there - near - step * lz - 0.8) / (soft * (0.5 + 0.05 * step))
        hidden = torch.maximum(hidden, above)
    return 1 - functional.avg_pool2d(hidden.clamp(0, 1), 3, 1, 1, count_include_pad=False)


def hollows(near: Tensor) -> Tensor:
    """Ambient light lost in hollows: how far a pixel lies behind its neighbourhood."""
    lost = torch.zeros_like(near)
    for radius, weight in ((4, 0.055), (9, 0.03)):
        side = 2 * radius + 1
        mean = functional.avg_pool2d(near[:, None], (1, side), 1, (0, radius), count_include_pad=False)
        mean = functional.avg_pool2d(mean, (side, 1), 1, (radius, 0), count_include_pad=False)[:, 0]
        lost = lost + ((mean - near) * weight).clamp(-0.06, 0.35)
    return (1 - lost).clamp(0.35, 1.1)


def tint(t: Tensor) -> Tensor:
    """Tint of a light (N, 3, 1, 1): positive is warm."""
    return colour(1 + 0.10 * t, 1.0 + 0.01 * t, 1 - 0.13 * t)


def shade(albedo: Tensor, near: Tensor, s: SimpleNamespace, lit: Tensor, hollow: Tensor, gloss: float) -> Tensor:
    """Skin under the lamp and the sky: wrapped Lambert, redder where light runs out, and a soft highlight."""
    nx, ny, nz = normals(near)
    lx, ly, lz = light_direction(s)
    facing = nx * lx + ny * ly + nz * lz
    wrapped = torch.stack([((facing + w) / (1 + w)).clamp(min=0) for w in (0.30, 0.18, 0.14)], dim=1)
    sky = (0.66 - 0.26 * ny + 0.10 * nz) * hollow
    half = torch.rsqrt((lx * lx + ly * ly + (lz + 1) ** 2).clamp(min=1e-4))
    shine = ((nx * lx + ny * ly + nz * (lz + 1)) * half).clamp(min=0)
    shine = shine**4
    shine = shine**5 * gloss
    lamp = tint(s.light_warm) * s.light_strength.unsqueeze(1) * 1.55
    ambient = tint(s.ambient_warm) * s.ambient.unsqueeze(1)
    soft_lit = torch.stack([lit**0.8, lit, lit], dim=1)
    return albedo * (lamp * wrapped * soft_lit + ambient * sky.unsqueeze(1)) + lamp * (shine * lit).unsqueeze(1)
