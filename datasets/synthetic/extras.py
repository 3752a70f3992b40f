"""Ears and glasses of a synthetic person: flat pieces in space, hidden where the head is nearer."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor

from frbench.datasets.synthetic.paint import blend, colour, ink, over
from frbench.datasets.synthetic.shape import Rays, Surface, bump, front, smooth


def ears(p: SimpleNamespace, r: Rays, skin: Tensor, head: Surface) -> tuple[Tensor, Tensor]:
    """Colour and coverage of the ears, upright leaves at the sides of the head."""
    x, y = r.on_plane(-6.0)
    near = (-6.0 - r.z) / r.dz
    turned = 5.0 * torch.sign(x) * r.dx
    wide = 5.2 + 0.6 * p.ear_out + turned
    lx = (x.abs() - p.head_width + 0.5 - 0.35 * p.ear_out) / wide
    ly = (y - 6.0) / p.ear_size
    shape = torch.hypot(lx - 0.12 * ly, ly + 0.12 * lx)
    cover = ((1 - shape) * 5 + 0.5).clamp(0, 1)
    visible = torch.maximum(1 - head.cover, ((near - head.near) / 1.5).clamp(0, 1))
    bowl = bump(lx + 0.05, ly - 0.08, 0.34, 0.42) + 0.5 * torch.exp(-(((shape - 0.78) / 0.09) ** 2))
    tone = skin * colour(0.92, 0.74, 0.70) * ink(bowl.clamp(0, 1), 0.55, 0.66, 0.68)
    return tone, cover * visible


def put_on_glasses(p: SimpleNamespace, s: SimpleNamespace, r: Rays, head: Surface, image: Tensor) -> Tensor:
    """Put on glasses, where this person wears them and has not left them off this time."""
    worn = (p.glasses > 0) * (s.glasses_off > 0.15)
    bridge = front(p, s, torch.full_like(p.eye_x, 0.0), torch.full_like(p.eye_x, -1.0))
    plane = bridge + 3.0
    x, y = r.on_plane(plane)
    side = x.abs()
    radius = 2.5 + p.glasses_round * (p.glasses_height - 3.0)
    qx = (side - p.eye_x - 0.6).abs() - (p.glasses_width - radius)
    qy = (y - 1.8).abs() - (p.glasses_height - radius)
    rim = torch.hypot(qx.clamp(min=0), qy.clamp(min=0)) + torch.maximum(qx, qy).clamp(max=0) - radius
    frame = (p.glasses_thick - rim.abs() + 0.5).clamp(0, 1)
    inner = p.eye_x + 0.6 - p.glasses_width
    nose = (p.glasses_thick * 0.9 + 0.4 - (y + 2.0 - 0.05 * (inner * inner - x * x)).abs()).clamp(0, 1)
    frame = torch.maximum(frame, nose * (inner - side + 0.7).clamp(0, 1))
    slope = torch.where(r.dx.abs() < 0.02, torch.full_like(r.dx, 0.02), r.dx)
    t = (torch.sign(slope) * (p.eye_x + p.glasses_width + 1.5) - r.x) / slope
    _, ty, tz = r.at(t)
    arm = (p.glasses_thick * 0.8 + 0.5 - (ty + 2.5 + 0.02 * (plane - tz)).abs()).clamp(0, 1)
    arm = (
        arm * (tz < plane) * (tz > 0) * (r.dx.abs() > 0.03) * torch.maximum(1 - head.cover, (t > head.near - 1).float())
    )
    frame = torch.maximum(frame, arm)
    tint = blend((0.012, 0.012, 0.014), (0.30, 0.17, 0.08), (p.glasses_tone - 0.3).clamp(0, 1) ** 2)
    shine = 0.5 + 0.7 * smooth(3.0, -3.0, y + 0.4 * x)
    lens = (0.5 - rim).clamp(0, 1)
    glare = lens * s.glare * smooth(0.55, 1.0, torch.cos(0.16 * (x - 0.7 * y) + 6.28 * s.glasses_off))
    image = image * (1 - 0.06 * (lens * worn)).unsqueeze(1)
    image = image + (0.6 * glare * worn).unsqueeze(1)
    return over(image, tint * (shine * s.light_strength).unsqueeze(1), frame * worn * 0.96)
