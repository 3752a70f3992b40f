"""Hair of a synthetic person: a second shell around the head, out of which the face is cut."""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor

from frbench.datasets.synthetic.light import light_direction, tint
from frbench.datasets.synthetic.paint import hair_base, texture
from frbench.datasets.synthetic.shape import Rays, Surface, meet, normals, outline, smooth


class Hair(NamedTuple):
    """The hair shell: its surface, coverage in front of the face, coverage behind it, and strands."""

    surface: Surface
    front: Tensor
    behind: Tensor
    strands: Tensor


def _hair_end(p: SimpleNamespace) -> Tensor:
    """Height y at which hair ends: by the ears when short, below the crop when long."""
    short = 1 + 24 * p.hair_length
    long = 26 + 130 * (p.hair_length - 0.35)
    return torch.where(p.hair_length < 0.35, short, long)


def _hair_tube(p: SimpleNamespace, y: Tensor) -> tuple[Tensor, Tensor]:
    up = (y / (p.crown - p.hair_volume)).clamp(0, 1.3)
    u2 = up * up
    top = 1 - u2 * (0.30 + 0.70 * u2)
    flare = 1 + 0.10 * p.hair_length * smooth(0.0, 60.0, y)
    side = (p.head_width + 0.7 + (0.35 + 0.35 * p.hair_length) * p.hair_volume) * flare
    back = p.head_depth + 0.45 * p.hair_volume
    return side * side * top, back * back * (1 - u2 * u2)


def _opening(p: SimpleNamespace, s: SimpleNamespace, x: Tensor, y: Tensor, strands: Tensor) -> Tensor:
    """Signed distance into the hair from the opening that it leaves for the face."""
    a = x.abs()
    shift = x - 0.6 * s.hair_shift
    line = p.hairline + p.hairline_peak * torch.exp(-(x * x) / 60) + 0.4 * s.hair_shift
    temple = (a / (34.0 + 2.0 * p.hairline_round)) ** 4
    line = line - 26 * p.bald + temple * (11.0 - 6 * p.old * p.male)
    fringe_y = -20.5 + 5.0 * p.fringe + 0.20 * p.fringe_slant * shift + 1.6 * strands
    fringed = smooth(0.60, 0.72, p.fringe)
    line = torch.lerp(line, torch.maximum(line, fringe_y + 0.004 * x * x), fringed.expand_as(line))
    swept = smooth(0.45, 0.60, p.fringe) * (1 - fringed)
    sweep = (shift * torch.sign(p.hair_part) + 16).clamp(0, 46)
    line = torch.maximum(line, torch.where(swept > 0.5, p.hairline + 0.0125 * sweep * sweep, line))
    long = smooth(0.33, 0.40, p.hair_length)
    edge = p.head_width - 2.2 + 0.8 * p.hair_side - long * (2.5 + 2.0 * p.hair_side + 0.02 * (y - 20).clamp(min=0))
    return torch.maximum(line - y + 0.9 * strands, a - edge + 0.4 * strands)


def trace_hair(p: SimpleNamespace, s: SimpleNamespace, r: Rays, noise: Tensor) -> Hair:
    """Ray-trace the shell of hair and cut the face out of it."""
    x, y = r.on_plane(p.head_depth * 0.8)
    near = x
    margin = x
    z = x
    for _ in range(2):
        w2, d2 = _hair_tube(p, y)
        near, margin = meet(r, w2, d2, -3.0)
        x, y, z = r.at(near)
    part_x, part_y = 16 * p.hair_part, p.crown - p.hair_volume - 6
    angle = torch.atan2(x - part_x, (y - part_y + 10).clamp(min=1)) * 52
    radius = torch.hypot(x - part_x, y - part_y)
    wave = 5 * p.hair_curl * torch.sin(radius * 0.24 + 0.05 * angle)
    fine = texture(noise, (angle + wave) * 0.95, radius * 0.075, 3)
    coarse = texture(noise, (angle + wave) * 0.30 + 20, radius * 0.03, 4)
    curls = texture(noise, x * 0.33, y * 0.33, 0)
    curly = smooth(0.62, 0.85, p.hair_curl)
    strands = torch.lerp(0.55 * fine + 0.6 * coarse, 0.4 * fine + 0.8 * curls, curly.expand_as(fine))
    cover = outline(margin)
    end = 1 - smooth(-2.5, 2.5, y - _hair_end(p) - 2.5 * strands - 1.5 * s.hair_shift)
    hair = smooth(-1.1, 1.1, _opening(p, s, x, y, strands))
    return Hair(Surface(x, y, z, near, cover), hair * cover * end, cover * end, strands)


def shade_hair(p: SimpleNamespace, s: SimpleNamespace, hair: Hair, lit: Tensor, hollow: Tensor) -> Tensor:
    """Hair: strands of varying tone, and a highlight that bends along them."""
    nx, ny, nz = normals(hair.surface.near)
    lx, ly, lz = light_direction(s)
    facing = ((nx * lx + ny * ly + nz * lz + 0.35) / 1.35).clamp(min=0)
    tangent = (ny * (ly + 0.15) + nz * (lz + 1)) * torch.rsqrt(
        (ny * ny + nz * nz + 0.01) * ((ly + 0.15) ** 2 + (lz + 1) ** 2)
    )
    band = tangent.clamp(0, 1) ** 24 * (0.6 + 0.6 * hair.strands).clamp(min=0)
    base = hair_base(p) * torch.exp(0.42 * hair.strands).unsqueeze(1)
    lamp = tint(s.light_warm) * s.light_strength.unsqueeze(1) * 1.5
    ambient = tint(s.ambient_warm) * s.ambient.unsqueeze(1)
    shine = (0.25 * base + 0.022) * (band * lit).unsqueeze(1)
    return (
        base * (lamp * (facing * lit).unsqueeze(1) + ambient * ((0.6 - 0.4 * ny) * hollow).unsqueeze(1)) + lamp * shine
    )
