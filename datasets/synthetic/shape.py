"""The solid shape of a synthetic head, and where the rays of a photograph meet it.

A head is an elliptic tube along y, ``(x / w(y))^2 + ((z - d(x, y)) / depth(y))^2 = 1``, with bumps d for
nose, brows, sockets, lips, cheeks and chin. A ray meets the tube in closed form where w, depth and d are
held still, so a few rounds of fixed-point iteration find the surface, and parallax comes for free.
Fields are float32 (N, 112, 112); parameters (N, 1, 1).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

SIZE = 112
# InsightFace's five-point template: left eye, right eye, nose tip, left and right mouth corner, in pixels.
TEMPLATE = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)


def smooth(low: Tensor | float, high: Tensor | float, x: Tensor) -> Tensor:
    """Hermite step from 0 at ``low`` to 1 at ``high``."""
    t = (x - low).div_(high - low).clamp_(0, 1)
    return (t * -2).add_(3).mul_(t).mul_(t)


def bump(x: Tensor, y: Tensor, wide: Tensor | float, high: Tensor | float) -> Tensor:
    """Gaussian of unit height at the origin."""
    across, down = (x / wide).square_(), (y / high).square_()
    return (across + down).mul_(-0.5).exp_()


class Rays(NamedTuple):
    """Orthographic rays in head coordinates: origins (N, H, W) and one direction (N, 1, 1) per image."""

    x: Tensor
    y: Tensor
    z: Tensor
    dx: Tensor
    dy: Tensor
    dz: Tensor

    def at(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The points at distance ``t``, larger being nearer to the camera."""
        return self.x + t * self.dx, self.y + t * self.dy, self.z + t * self.dz

    def on_plane(self, z: Tensor | float) -> tuple[Tensor, Tensor]:
        """Where the rays cross the plane of that z."""
        t = (z - self.z) / self.dz
        return self.x + t * self.dx, self.y + t * self.dy


def relief(p: SimpleNamespace, s: SimpleNamespace, x: Tensor, y: Tensor) -> Tensor:
    """How far the face stands out of the tube at (x, y)."""
    a = x.abs()
    bend = x - p.nose_bend * smooth(-8.0, 18.0, y)
    along = smooth(-14.0, 24.0, y + 20.0 - p.nose_y)
    root = p.nose_root * bump(x, y + 3, 4.0, 9.0)
    width = p.nose_bridge + (p.nose_tip - p.nose_bridge) * smooth(4.0, 18.0, y)
    ridge = p.nose_height * along * (1.3 - 0.3 * along) + p.nose_hump * bump(x, y - 6, 9.0, 4.0)
    base = 1 - smooth(-2.5, 6.5, y - p.nose_y + 0.07 * x * x)
    d = root + ridge * base * torch.exp(-(bend * bend) / (2 * width * width))
    d = d + 3.4 * bump(a - p.nose_wing + 1.2, y - p.nose_y - 1.2, 2.4, 3.0)
    shelf = torch.exp(-((y - p.brow_y - 1) ** 2) / 40.0 - (x / 24.0) ** 4)
    d = d + p.brow_ridge * shelf
    d = d - p.socket * bump(a - p.eye_x + 2, y + 1, 9.5, 6.5)
    d = d + 2.4 * bump(a - p.eye_x, y, 5.5, 4.2)
    d = d + p.cheekbone * bump(a - 27, y - 11, 9.0, 6.0)
    d = d + (p.cheek + 2.2 * s.smile.clamp(min=0)) * bump(a - 21, y - 22, 8.5, 8.0)
    m = p.mouth_y
    gap = s.mouth_open * 0.5
    d = d + 3.4 * bump(x, y - m, 13.0, 11.0)
    d = d + 0.42 * p.lip_upper * bump(x, y - m + 2.2 + gap, p.mouth_width * 0.55, 2.0)
    d = d + 0.48 * p.lip_lower * bump(x, y - m - 3.0 - gap, p.mouth_width * 0.5, 2.4)
    d = d - 2.2 * bump(x, y - m - p.lip_lower - 6.0 - gap, 10.0, 3.0)
    chin = y - p.chin_y + 9.0 - 0.7 * s.mouth_open
    return d + p.chin_bump * bump(x, chin, 8.5, 5.5) - 1.1 * p.cleft * bump(x, chin, 1.3, 4.0)


def tube(p: SimpleNamespace, s: SimpleNamespace, y: Tensor) -> tuple[Tensor, Tensor]:
    """Squared half width and squared half depth of the head at ``y``; negative beyond crown and chin."""
    up = (y / p.crown).clamp(0, 1.3)
    down = (y / (p.chin_y + 0.8 * s.mouth_open)).clamp(0, 1.3)
    u2, v2 = up * up, down * down
    top = 1 - u2 * (0.45 + 0.55 * u2)
    square = p.jaw_square
    jaw = 1 - v2 * ((1 - square) + square * v2 * v2)
    taper = 1 - p.jaw_taper * smooth(0.1, 1.0, down) - p.forehead_taper * smooth(0.1, 0.9, up)
    width = p.head_width * taper
    v6 = v2 * v2 * v2
    depth = p.head_depth * (1 - 0.10 * smooth(0.3, 1.0, up))
    return width * width * (top * jaw), depth * depth * (1 - u2 * u2) * (1 - v6 * v6)


def front(p: SimpleNamespace, s: SimpleNamespace, x: Tensor, y: Tensor) -> Tensor:
    """Height z of the face at (x, y), seen from the front."""
    w2, d2 = tube(p, s, y)
    return relief(p, s, x, y) + torch.sqrt(d2.clamp(min=1) * (1 - x * x / w2.clamp(min=1)).clamp(min=0))


def mouth_corner(p: SimpleNamespace, s: SimpleNamespace) -> tuple[Tensor, Tensor]:
    """Half width of the mouth and height of its corners, smiling or not."""
    return p.mouth_width * (1 + 0.13 * s.smile) - 0.2 * s.mouth_open, p.mouth_y - 0.5 - 2.3 * s.smile


def _landmarks(p: SimpleNamespace, s: SimpleNamespace) -> tuple[Tensor, Tensor, Tensor]:
    """The five template points on the head, each coordinate (N, 5, 1)."""
    wide, high = mouth_corner(p, s)
    zero = torch.zeros_like(p.eye_x)
    x = torch.cat([-p.eye_x, p.eye_x, p.nose_bend, -wide, wide], dim=1)
    y = torch.cat([zero, zero, p.nose_y, high, high], dim=1)
    return x, y, front(p, s, x, y)


def rays(p: SimpleNamespace, s: SimpleNamespace) -> Rays:
    """Rays of each pixel, after the similarity that best brings the five points to the template."""
    cy, sy, cp, sp = s.yaw.cos(), s.yaw.sin(), s.pitch.cos(), s.pitch.sin()
    x, y, z = _landmarks(p, s)
    # Head to camera: yaw about y, then pitch about x.
    seen_x, seen_y = cy * x + sy * z, cp * y - sp * (cy * z - sy * x)
    target = torch.tensor(TEMPLATE)
    mean_x, mean_y = seen_x.mean(1, keepdim=True), seen_y.mean(1, keepdim=True)
    mean_t = target.mean(0)
    px, py = seen_x - mean_x, seen_y - mean_y
    tx, ty = (target - mean_t)[:, 0][None, :, None], (target - mean_t)[:, 1][None, :, None]
    norm = (px * px + py * py).sum(1, keepdim=True)
    real = (px * tx + py * ty).sum(1, keepdim=True) / norm
    imag = (px * ty - py * tx).sum(1, keepdim=True) / norm
    turn = torch.atan2(imag, real) + s.jitter_turn
    scale = torch.sqrt(real * real + imag * imag) * s.jitter_scale
    grid = torch.arange(SIZE, dtype=torch.float32)
    u = grid[None, None, :] - mean_t[0] - s.jitter_x
    v = grid[None, :, None] - mean_t[1] - s.jitter_y
    cx = (turn.cos() * u + turn.sin() * v) / scale + mean_x
    cyy = (turn.cos() * v - turn.sin() * u) / scale + mean_y
    # Camera to head: the transposed rotation of (cx, cyy, 0), and of the view direction (0, 0, 1).
    back_y, back_z = cp * cyy, -sp * cyy
    return Rays(
        x=cy * cx - sy * back_z,
        y=back_y,
        z=sy * cx + cy * back_z,
        dx=-sy * cp,
        dy=sp,
        dz=cy * cp,
    )


def meet(r: Rays, w2: Tensor, d2: Tensor, lift: Tensor | float) -> tuple[Tensor, Tensor]:
    """Distance to the near wall of the tube lifted by ``lift``, and the signed margin inside its outline."""
    z = r.z - lift
    xx, zz = r.dx * r.dx, r.dz * r.dz
    cross = r.x * r.dz - z * r.dx
    margin = xx * d2 + zz * w2 - cross * cross
    w2, d2 = w2.clamp(min=60), d2.clamp(min=400)
    b = r.x * r.dx * d2 + z * r.dz * w2
    return (torch.sqrt(w2 * d2 * margin.clamp(min=0)) - b) / (xx * d2 + zz * w2), margin


def outline(margin: Tensor) -> Tensor:
    """Coverage in [0, 1] from a margin that is positive inside: margin over its slope is a pixel distance."""
    gx = torch.zeros_like(margin)
    gy = torch.zeros_like(margin)
    gx[:, :, 1:-1] = (margin[:, :, 2:] - margin[:, :, :-2]) * 0.5
    gy[:, 1:-1, :] = (margin[:, 2:, :] - margin[:, :-2, :]) * 0.5
    return (margin / torch.sqrt(gx * gx + gy * gy + 1) + 0.5).clamp(0, 1)


class Surface(NamedTuple):
    """Head coordinates of what each pixel sees, its nearness to the camera, and coverage."""

    x: Tensor
    y: Tensor
    z: Tensor
    near: Tensor
    cover: Tensor


def _half(r: Rays) -> Rays:
    """The rays between each 2x2 pixels."""

    def mean(f: Tensor) -> Tensor:
        return 0.25 * (f[:, ::2, ::2] + f[:, 1::2, ::2] + f[:, ::2, 1::2] + f[:, 1::2, 1::2])

    return Rays(mean(r.x), mean(r.y), mean(r.z), r.dx, r.dy, r.dz)


def head_surface(p: SimpleNamespace, s: SimpleNamespace, r: Rays, rounds: int = 4) -> Surface:
    """The face, by fixed-point iteration over height and relief: at half size first, then once in full."""
    few = _half(r)
    x, y = few.on_plane(p.head_depth * 0.9)
    lift = relief(p, s, x, y)
    t, _ = meet(few, *tube(p, s, y), lift)
    for _ in range(rounds - 1):
        x, y, _z = few.at(t)
        lift = 0.5 * (lift + relief(p, s, x, y))
        t, _ = meet(few, *tube(p, s, y), lift)
    wide = functional.interpolate(t[:, None], scale_factor=2, mode="bilinear", align_corners=False)[:, 0]
    x, y, z = r.at(wide)
    t, margin = meet(r, *tube(p, s, y), relief(p, s, x, y))
    x, y, z = r.at(t)
    return Surface(x, y, z, t, outline(margin))


def normals(near: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Unit normals in camera coordinates, by central differences of the nearness."""
    gx = torch.zeros_like(near)
    gy = torch.zeros_like(near)
    gx[:, :, 1:-1] = (near[:, :, 2:] - near[:, :, :-2]) * 0.5
    gy[:, 1:-1, :] = (near[:, 2:, :] - near[:, :-2, :]) * 0.5
    gx, gy = gx.clamp(-6, 6), gy.clamp(-6, 6)
    inverse = torch.rsqrt(gx * gx + gy * gy + 1)
    return -gx * inverse, -gy * inverse, inverse
