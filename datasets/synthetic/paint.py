"""What is painted on a synthetic face: skin, eyes, brows, mouth, beard. Linear light, (N, 3, 112, 112)."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor
from torch.nn import functional

from frbench.datasets.synthetic.shape import bump, mouth_corner, smooth


def colour(*rgb: Tensor | float) -> Tensor:
    """(N, 3, 1, 1) from three channels that are numbers or (N, 1, 1)."""
    channels = torch.broadcast_tensors(*(torch.as_tensor(c, dtype=torch.float32) for c in rgb))
    return torch.stack(channels, dim=-3) if channels[0].dim() else torch.stack(channels).view(1, 3, 1, 1)


def blend(low: tuple[float, float, float], high: tuple[float, float, float], t: Tensor) -> Tensor:
    """The colour at t (N, 1, 1) between two colours, (N, 3, 1, 1)."""
    a, b = torch.tensor(low).view(1, 3, 1, 1), torch.tensor(high).view(1, 3, 1, 1)
    return a + (b - a) * t.unsqueeze(1)


def over(below: Tensor, above: Tensor, cover: Tensor) -> Tensor:
    """Lay colour ``above`` over ``below`` where ``cover`` (N, H, W) says."""
    return torch.lerp(below, above, cover.unsqueeze(1))


def ink(cover: Tensor, *darken: float) -> Tensor:
    """A factor (N, 3, H, W) that darkens each channel by up to ``darken`` where ``cover`` says."""
    return 1 - cover.unsqueeze(1) * torch.tensor(darken).view(1, 3, 1, 1)


def texture(noise: Tensor, u: Tensor, v: Tensor, channel: int) -> Tensor:
    """Bilinear, mirrored look-up in one channel of a noise image (N, C, h, w) at (u, v) in texels."""
    size = noise.shape[-1]
    grid = torch.stack([u * (2 / size), v * (2 / size)], dim=-1)
    picked = noise[:, channel : channel + 1]
    return functional.grid_sample(picked, grid, mode="bilinear", padding_mode="reflection", align_corners=False)[:, 0]


def skin_base(p: SimpleNamespace) -> Tensor:
    """Skin from melanin and blood, (N, 3, 1, 1): absorption adds up in the exponent."""
    m = 0.12 + 1.75 * p.melanin * p.melanin
    blood = 0.13 + 0.035 * p.redness
    yellow = 0.03 * p.skin_yellow
    return colour(
        0.84 * torch.exp(-0.90 * m - 0.15 * blood),
        0.80 * torch.exp(-1.16 * m - 2.7 * blood),
        0.74 * torch.exp(-1.46 * m - 3.1 * blood - yellow),
    )


def hair_base(p: SimpleNamespace) -> Tensor:
    """Hair from near black over browns and reds to blond, and gray with age; dark skin has dark hair."""
    light = (p.hair_tone * (1.25 - 1.3 * p.melanin)).clamp(0, 1)
    dark = blend((0.014, 0.011, 0.010), (0.16, 0.085, 0.042), (light / 0.6).clamp(0, 1))
    blond = blend((0.16, 0.085, 0.042), (0.58, 0.42, 0.22), ((light - 0.6) / 0.4).clamp(0, 1))
    base = torch.where((light > 0.6).unsqueeze(1), blond, dark)
    red = ((p.hair_red - 0.85) / 0.15).clamp(0, 1) * (light > 0.25)
    base = over(base, colour(0.33, 0.105, 0.035), red * 0.8)
    return over(base, colour(0.5, 0.5, 0.5), p.hair_gray * 0.85)


def paint_skin(p: SimpleNamespace, x: Tensor, y: Tensor, noise: Tensor) -> Tensor:
    """Skin with its blush, freckles, moles and fine mottling."""
    a = x.abs()
    base = skin_base(p)
    mottle = texture(noise, x * 0.22, y * 0.22, 0) * 0.045 + texture(noise, x, y, 1) * 0.035
    skin = base * (1 + mottle).unsqueeze(1)
    flush = bump(a - 21, y - 19, 9.0, 8.0) * (0.35 + 0.65 * p.blush) + 0.5 * bump(x, y - p.nose_y, 6.0, 6.0)
    skin = skin * ink(flush, 0.02, 0.17, 0.13)
    fleck = smooth(0.9, 1.9, texture(noise, x * 1.05 + 9, y * 1.05, 2)) * p.freckles
    skin = skin * ink(fleck * bump(a - 13, y - 13, 15.0, 12.0), 0.3, 0.48, 0.55)
    for mx, my, size in ((p.mole_x, p.mole_y, p.mole_size), (p.mole2_x, p.mole2_y, p.mole2_size)):
        mole = (size + 0.3 - torch.hypot(x - mx, y - my)).clamp(0, 1) * (size > 0)
        skin = over(skin, base * colour(0.3, 0.22, 0.2), mole * 0.85)
    return skin


def paint_lines(p: SimpleNamespace, s: SimpleNamespace, x: Tensor, y: Tensor) -> Tensor:
    """Folds and wrinkles, as a factor (N, 3, H, W)."""
    a = x.abs()
    wide, corner = mouth_corner(p, s)
    t = ((y - p.nose_y) / (corner + 5 - p.nose_y)).clamp(-0.2, 1.3)
    path = p.nose_wing + 3.5 + (wide + 1.5 - p.nose_wing) * t * (0.55 + 0.45 * t)
    strength = (0.12 + 0.3 * p.fold + 0.35 * p.wrinkle) * (0.5 + 0.7 * s.smile.clamp(min=0))
    along = smooth(-0.1, 0.25, t) * (1 - smooth(0.8, 1.2, t))
    fold = strength * along * torch.exp(-((a - path) ** 2) / 3.0)
    bag_y = 6.6 + 2.2 * p.eye_bag - 0.018 * (a - p.eye_x) ** 2
    bag = bump(a - p.eye_x + 2, y - bag_y, 6.0, 1.3) * (0.1 + 0.3 * p.eye_bag * (0.3 + p.wrinkle))
    brow = y - 0.004 * x * x + 0.4 * torch.sin(x * 0.3 + 6.28 * p.noise_phase)
    lined = p.wrinkle * 0.3 + 0.12 * s.brow_raise.clamp(min=0)
    forehead = lined * smooth(0.55, 1.0, torch.cos((brow + 26) * 0.85)) * bump(x, y + 28, 17.0, 7.0)
    feet = p.wrinkle * (0.2 + 0.4 * s.smile.clamp(min=0)) * smooth(0.3, 1.0, torch.cos(1.5 * (y + 0.25 * a - 9)))
    feet = feet * bump(a - p.eye_x - p.eye_width - 5, y - 1, 2.5, 5.0)
    groove = 0.16 * p.philtrum * bump(x, y - 0.5 * (p.nose_y + p.mouth_y) - 3, 1.3, 4.0)
    return ink((fold + bag + forehead + feet + groove).clamp(0, 0.8), 0.42, 0.55, 0.58)


def paint_nose(p: SimpleNamespace, x: Tensor, y: Tensor) -> Tensor:
    """Nostrils and the crease around the wings, as a factor."""
    a = x.abs()
    hole = bump(a - 0.52 * p.nose_wing, y - p.nose_y - 4.6 + 0.25 * (a - 0.5 * p.nose_wing), 1.75, 1.15)
    wing = torch.exp(-((torch.hypot((a - p.nose_wing + 1.6) / 1.05, y - p.nose_y - 1.2) - 4.2) ** 2) / 1.1)
    wing = wing * smooth(0.3, 2.0, a - p.nose_wing + 1.6)
    under = bump(x, y - p.nose_y - 5.0, p.nose_wing * 0.6, 1.2)
    return ink((0.85 * hole + 0.22 * wing + 0.10 * under).clamp(0, 0.9), 0.80, 0.90, 0.91)


def paint_brows(p: SimpleNamespace, s: SimpleNamespace, x: Tensor, y: Tensor, noise: Tensor) -> Tensor:
    """Coverage of the eyebrows."""
    a = x.abs()
    t = (a - p.brow_inner) / (p.brow_outer - p.brow_inner)
    inside = t.clamp(0, 1)
    side = torch.sign(x) * p.asymmetry
    line = p.brow_y - s.brow_raise - 0.5 * side - 4 * p.brow_arch * inside * (1 - inside) * (0.55 + 0.9 * inside)
    line = line + p.brow_slope * (inside - 0.5) * 2
    thick = p.brow_thick * (0.85 + 0.7 * inside - 1.35 * inside * inside)
    hairs = texture(noise, a * 0.55 + y * 0.5, y * 0.9 - a * 0.75, 3)
    edge = (thick - (y - line).abs() + 0.5 * hairs) / 1.6 + 0.25
    return edge.clamp(0, 1) * smooth(-0.08, 0.14, t) * (1 - smooth(0.9, 1.12, t)) * p.brow_dense * (0.86 + 0.2 * hairs)


def _iris_colour(p: SimpleNamespace) -> Tensor:
    """Brown for most; blue, gray and green where skin is light."""
    brown = blend((0.018, 0.009, 0.005), (0.15, 0.068, 0.024), p.iris_tone)
    pale = blend((0.10, 0.18, 0.30), (0.14, 0.20, 0.10), p.iris_tone)
    return over(brown, pale, ((p.iris - 0.3 - 0.9 * p.melanin) * 8).clamp(0, 1))


def paint_eyes(
    p: SimpleNamespace, s: SimpleNamespace, skin: Tensor, x: Tensor, y: Tensor, light: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Skin with the eyes in it, and the glint of the light on them (N, H, W)."""
    side = torch.sign(x)
    ex = x.abs() - p.eye_x
    ey = y + p.eye_tilt * ex
    q = ex / p.eye_width
    bow = (1 - q * q).clamp(min=0)
    lean = 1 - p.eye_skew * q
    squint = 1 - 0.10 * s.smile.clamp(min=0)
    opened = (s.eye_open * squint).clamp(0.25, 1.3) + 0.03 * side * p.asymmetry
    upper = -p.eye_upper * opened * torch.sqrt(bow + 1e-4) * (0.45 + 0.55 * bow) * lean - 0.2
    lower = p.eye_lower * bow * (2 - lean) + 0.25
    inside = (torch.minimum(ey - upper, lower - ey) + 0.5).clamp(0, 1) * smooth(0.0, 0.1, bow)
    ix, iy = ex - side * s.gaze_x, ey + 0.5 - s.gaze_y
    radius = torch.hypot(ix, iy)
    white = colour(0.60, 0.565, 0.54) * ink(smooth(0.25, 1.0, q.abs()), 0.2, 0.38, 0.4)
    white = white * ink(torch.exp(-(ey - upper).clamp(min=0) / 1.3), 0.62, 0.68, 0.7)
    white = over(white, colour(0.45, 0.2, 0.17), bump(ex + p.eye_width - 1.0, ey - 0.4, 1.0, 1.0) * 0.75)
    size = p.iris_size
    iris = _iris_colour(p) * (0.5 + 1.1 * smooth(-size, size, iy)).unsqueeze(1)
    iris = iris * ink(smooth(0.55, 1.0, radius / size), 0.75, 0.75, 0.72)
    iris = iris * ink(torch.exp(-(ey - upper).clamp(min=0) / 1.0), 0.75, 0.75, 0.75)
    iris = over(iris, colour(0.004, 0.004, 0.004), (size * 0.42 - radius + 0.5).clamp(0, 1))
    eye = over(white, iris, (size - radius + 0.5).clamp(0, 1))
    crease_y = upper - p.crease * (0.75 + 0.25 * bow)
    span = smooth(-1.1, -0.8, q) * (1 - smooth(0.95, 1.3, q))
    crease = torch.exp(-((ey - crease_y) ** 2) / 0.9) * span * p.crease_dark
    lid = smooth(0.0, 1.0, (ey - crease_y) / 1.5) * (ey < upper) * span
    ring = bump(ex + 1.0, ey - 0.5, p.eye_width * 0.95, 4.5)
    out = skin * ink(0.6 * crease + 0.10 * lid + 0.22 * ring, 0.55, 0.68, 0.7)
    out = over(out, skin * colour(0.35, 0.25, 0.32), lid * p.shadow_lid * 0.8)
    out = over(out, eye, inside)
    lash = (1.25 - (ey - upper + 0.35).abs() / (0.55 + 0.75 * p.lash * (0.8 + 0.3 * q))).clamp(0, 1)
    lash = lash * smooth(-1.1, -0.85, q) * (1 - smooth(1.08, 1.22, q))
    lash = torch.maximum(
        lash * (0.55 + 0.45 * p.lash),
        0.4 * p.lash * torch.exp(-((ey - lower - 0.2) ** 2) / 0.5) * smooth(0.0, 0.2, bow),
    )
    out = over(out, colour(0.016, 0.010, 0.008), lash)
    gx, gy = light
    glint = (1.35 - torch.hypot(side * ix - 1.5 * gx, iy - 1.5 * gy - 0.2)).clamp(0, 1) * inside
    return out, glint


def paint_mouth(p: SimpleNamespace, s: SimpleNamespace, skin: Tensor, x: Tensor, y: Tensor, base: Tensor) -> Tensor:
    """Skin with lips, teeth and the dark of an open mouth; ``base`` is the plain skin colour."""
    wide, corner = mouth_corner(p, s)
    q = x / wide
    bow = (1 - q * q).clamp(min=0)
    line = corner + (p.mouth_y - corner) * bow.sqrt() * 0.9 - 0.35 * torch.exp(-q * q * 30) + 0.25 * p.asymmetry * q
    gap = s.mouth_open * bow * 0.5 + 0.9 * s.smile.clamp(0, 1) * bow * (s.mouth_open > 0)
    cupid = 1 - p.lip_cupid * torch.exp(-(x * x) / 7.0)
    stretch = 1 - 0.13 * s.smile.clamp(min=0)
    top = line - gap - p.lip_upper * stretch * bow * (1.12 - 0.12 * bow) * cupid * (1 + 0.15 * bow)
    low = line + gap + p.lip_lower * stretch * bow.sqrt() * (0.35 + 0.65 * bow)
    ends = smooth(0.0, 0.06, bow)
    red = blend((0.80, 0.55, 0.56), (0.80, 0.27, 0.33), p.lip_red) * (1 - 0.28 * p.lip_dark).unsqueeze(1)
    lips = base * red * colour(1.0, 1 - 0.05 * p.redness, 1.0)
    lips = lips * ink(smooth(1.5, -1.0, y - line) * 0.22, 1.0, 1.0, 1.0) * (1 + 0.06 * torch.cos(x * 2.1)).unsqueeze(1)
    edge = torch.minimum(y - top, low - y)
    out = over(skin, lips, (edge / 1.5 + 0.45).clamp(0, 1) * ends * 0.9)
    open_edge = gap - (y - line).abs()
    hole = (open_edge + 0.5).clamp(0, 1) * smooth(0.1, 0.7, gap) * ends
    teeth_low = line - gap + (1.2 + 2.4 * s.smile.clamp(0, 1) + 0.35 * s.mouth_open)
    teeth = (teeth_low - y + 0.5).clamp(0, 1) * (1 - smooth(0.45, 0.95, q.abs()))
    enamel = colour(0.62, 0.58, 0.50) * ink(smooth(0.6, 1.0, torch.cos(x * 1.55)) * 0.16 + 0.55 * q.abs(), 1, 1, 1)
    inner = over(colour(0.055, 0.018, 0.016), enamel, teeth * smooth(0.3, 1.0, gap))
    out = over(out, inner, hole)
    seam = torch.exp(-((y - line) ** 2) / 0.75) * (1 - smooth(0.2, 0.8, gap)) * (1 - smooth(1.0, 1.12, q.abs()))
    pit = bump(x.abs() - wide - 0.2, y - corner, 1.5, 1.5)
    return out * ink((0.78 * seam + 0.4 * pit).clamp(0, 1), 0.8, 0.88, 0.88)


def paint_beard(p: SimpleNamespace, s: SimpleNamespace, x: Tensor, y: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Coverage by hair of the beard, and by the shadow of shaven skin."""
    a = x.abs()
    wide, _ = mouth_corner(p, s)
    lip = y - p.mouth_y
    gap = 0.5 * s.mouth_open
    rise = p.lip_upper + 6.5 - 0.024 * a * a + gap
    upper_zone = smooth(-2.0, 2.0, lip + rise) * (
        1 - smooth(-p.lip_upper - 1.5, -p.lip_upper + 1.0, lip + gap - 0.012 * a * a)
    )
    upper_zone = upper_zone * (1 - smooth(0.9, 1.2, a / wide)) * (1 - 0.5 * bump(x, lip + rise - 1, 1.7, 3.0))
    mouth = smooth(-0.25, 0.25, (a / (wide + 1.5)) ** 2 + (lip / (p.lip_lower + 2.8 + gap)) ** 2 - 1)
    chin_zone = smooth(-3.0, 3.0, lip + 1) * (1 - smooth(12.0, 19.0, a)) * mouth
    cheek_line = p.mouth_y - 9 - 0.035 * (a - 14) ** 2 * (a > 14)
    cheek_zone = smooth(-3.5, 3.5, y - cheek_line) * smooth(11.0, 17.0, a) * mouth
    grain = texture(noise, x * 0.9, y * 0.55, 3) * 0.6 + texture(noise, x * 0.5 + 30, y * 0.35, 4) * 0.4
    density = torch.maximum(
        torch.maximum(p.moustache * upper_zone, p.beard_chin * chin_zone), p.beard_cheek * cheek_zone
    )
    density = density * (0.86 + 0.28 * (s.stubble - 0.5))
    beard = (1.35 * density + 0.30 * grain * density.clamp(0, 0.7)).clamp(0, 0.95)
    zone = torch.maximum(torch.maximum(upper_zone, chin_zone), cheek_zone)
    return beard, zone * p.shave_shadow * (0.12 + 0.3 * s.stubble) * (1 + 0.3 * grain)
