"""Who a synthetic person is, and what one photograph of that person happens to be like.

Every trait is a function of (seed, person) and every circumstance of (seed, person, shot), by the
counter-based noise of the harness: nothing depends on what else is rendered. Lengths are in head units,
about one pixel of the 112x112 crop; x points right, y down, z to the camera; the eyes lie at y = 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace

import torch
from torch import Tensor

from frbench.harness.core.contracts import Draw
from frbench.harness.core.counter_rng import Stream, uniform

SHOTS_PER_PERSON = 1 << 20  # shot numbers lie below this: person and shot make one counter
Quantile = Callable[[Tensor], Tensor]


def between(low: float, high: float) -> Quantile:
    """Uniform from ``low`` to ``high``."""
    return lambda u: low + (high - low) * u


def around(mean: float, spread: float) -> Quantile:
    """Normal with standard deviation ``spread``, cut off at 2.2 of them."""
    return lambda u: mean + spread * torch.special.ndtri(u.clamp(0.0139, 0.9861))


def sometimes(chance: float, low: float, high: float) -> Quantile:
    """Zero, or with probability ``chance`` uniform from ``low`` to ``high``."""
    return lambda u: torch.where(u < chance, low + (high - low) * u / chance, torch.zeros_like(u))


# The hidden causes come first; _correlate lets them pull at the others.
PERSON: Mapping[str, Quantile] = {
    "male": between(0, 1),
    "age": between(0, 1),
    "melanin": between(0, 1),
    "redness": around(0.0, 1.0),
    "skin_yellow": around(0.0, 1.0),
    "head_width": around(40.5, 2.0),
    "head_depth": around(47.0, 2.5),
    "crown": around(-70.0, 4.0),
    "chin_y": around(61.0, 3.8),
    "jaw_square": around(0.52, 0.2),
    "jaw_taper": around(0.23, 0.08),
    "forehead_taper": around(0.08, 0.04),
    "cheekbone": around(1.6, 1.1),
    "cheek": around(1.2, 1.4),
    "chin_bump": around(3.0, 1.5),
    "cleft": sometimes(0.2, 0.3, 1.0),
    "brow_ridge": around(1.3, 0.8),
    "socket": around(4.2, 1.1),
    "eye_x": around(17.6, 1.0),
    "eye_width": around(8.3, 0.75),
    "eye_upper": around(3.5, 0.6),
    "eye_lower": around(2.6, 0.45),
    "eye_tilt": around(0.06, 0.07),
    "eye_skew": around(0.1, 0.18),
    "crease": around(2.7, 0.9),
    "crease_dark": between(0.1, 0.8),
    "lash": between(0.35, 0.95),
    "iris": between(0, 1),
    "iris_tone": between(0, 1),
    "iris_size": around(3.75, 0.22),
    "eye_bag": between(0, 1),
    "brow_y": around(-11.0, 1.5),
    "brow_thick": around(2.25, 0.65),
    "brow_arch": around(1.7, 1.3),
    "brow_slope": around(-0.3, 1.3),
    "brow_inner": around(7.6, 1.4),
    "brow_outer": around(29.0, 1.7),
    "brow_dense": between(0.65, 1.0),
    "nose_y": around(20.0, 2.0),
    "nose_height": around(9.6, 1.8),
    "nose_bridge": around(3.6, 0.6),
    "nose_root": around(4.0, 1.5),
    "nose_tip": around(5.0, 0.8),
    "nose_wing": around(7.2, 1.2),
    "nose_hump": around(0.3, 1.0),
    "nose_bend": around(0.0, 0.5),
    "mouth_y": around(40.5, 1.9),
    "mouth_width": around(14.8, 1.4),
    "lip_upper": around(3.6, 0.9),
    "lip_lower": around(4.9, 1.0),
    "lip_cupid": between(0.0, 0.5),
    "lip_red": between(0, 1),
    "lip_dark": between(0, 1),
    "philtrum": between(0, 1),
    "fold": between(0, 1),
    "asymmetry": around(0.0, 0.6),
    "hair_tone": between(0, 1),
    "hair_red": between(0, 1),
    "hair_gray": between(0, 1),
    "hair_length": between(0, 1),
    "hair_volume": around(6.0, 2.2),
    "hair_curl": between(0, 1),
    "hair_part": between(-1, 1),
    "hair_side": around(0.0, 1.0),
    "hairline": around(-41.0, 4.0),
    "hairline_peak": around(1.0, 2.2),
    "hairline_round": around(0.0, 1.0),
    "fringe": between(0, 1),
    "fringe_slant": between(-1, 1),
    "bald": sometimes(0.12, 0.5, 1.0),
    "moustache": sometimes(0.45, 0.2, 1.0),
    "beard_chin": sometimes(0.42, 0.2, 1.0),
    "beard_cheek": sometimes(0.32, 0.15, 1.0),
    "shave_shadow": between(0, 1),
    "freckles": sometimes(0.25, 0.35, 1.0),
    "mole_x": between(-27, 27),
    "mole_y": between(4, 52),
    "mole_size": sometimes(0.45, 0.8, 1.7),
    "mole2_x": between(-30, 30),
    "mole2_y": between(-30, 50),
    "mole2_size": sometimes(0.3, 0.7, 1.3),
    "blush": between(0, 1),
    "shadow_lid": sometimes(0.3, 0.2, 0.9),
    "ear_out": around(4.0, 1.5),
    "ear_size": around(12.0, 1.5),
    "glasses": sometimes(0.2, 0.5, 1.0),
    "glasses_round": between(0, 1),
    "glasses_width": around(12.8, 1.0),
    "glasses_height": around(9.3, 1.3),
    "glasses_thick": between(0.6, 1.6),
    "glasses_tone": between(0, 1),
    "noise_phase": between(0, 1),
}

SHOT: Mapping[str, Quantile] = {
    "yaw": around(0.0, 0.27),
    "pitch": around(0.0, 0.13),
    "jitter_x": around(0.0, 0.8),
    "jitter_y": around(0.0, 0.8),
    "jitter_turn": around(0.0, 0.03),
    "jitter_scale": around(1.0, 0.02),
    "light_turn": between(-1.3, 1.3),
    "light_height": around(0.55, 0.33),
    "light_strength": between(0.55, 1.25),
    "light_warm": around(0.0, 1.0),
    "ambient": between(0.32, 0.7),
    "ambient_warm": around(0.0, 1.0),
    "exposure": around(1.0, 0.17),
    "gamma": around(1.0, 0.08),
    "saturation": around(1.0, 0.14),
    "shadow_soft": between(2.0, 6.0),
    "smile": around(0.45, 0.45),
    "mouth_open": sometimes(0.4, 0.0, 5.5),
    "brow_raise": around(0.0, 1.1),
    "eye_open": around(1.0, 0.13),
    "gaze_x": around(0.0, 0.9),
    "gaze_y": around(0.0, 0.5),
    "hair_shift": around(0.0, 1.2),
    "stubble": between(0, 1),
    "glasses_off": between(0, 1),
    "glare": sometimes(0.3, 0.1, 0.5),
    "blur": between(0.0, 1.15),
    "sensor": between(0.004, 0.028),
    "compression": between(0.15, 1.0),
    "backdrop": between(0.02, 0.8),
    "backdrop_contrast": between(0.05, 0.5),
    "cloth": between(0, 1),
}


def _table(index: Tensor, draw: Draw, table: Mapping[str, Quantile]) -> SimpleNamespace:
    """Each trait as float32 (N, 1, 1), computed in float64 so that rounding hides the order of work."""
    u = uniform(index, draw, (len(table),)).double()
    return SimpleNamespace(**{n: q(u[:, i]).float()[:, None, None] for i, (n, q) in enumerate(table.items())})


def _correlate(p: SimpleNamespace) -> SimpleNamespace:
    """Let sex, age and melanin pull at what they pull at in people."""
    male = torch.sigmoid((p.male - 0.5) * 14)
    old = (p.age - 0.45).clamp(min=0) / 0.55
    p.old, p.male = old, male
    p.head_width = p.head_width + 1.3 * male
    p.jaw_square = p.jaw_square + 0.10 * male
    p.jaw_taper = p.jaw_taper - 0.05 * male
    p.chin_y = p.chin_y + 1.5 * male
    p.brow_ridge = p.brow_ridge + 1.2 * male
    p.brow_thick = (p.brow_thick + 0.55 * male - 0.15).clamp(0.8, 3.6)
    p.brow_y = p.brow_y + 1.2 * male - 0.4
    p.nose_wing = (p.nose_wing + 0.5 * male + 1.4 * (p.melanin - 0.45)).clamp(4.8, 10.5)
    p.nose_height = p.nose_height + 0.8 * male - 1.5 * (p.melanin - 0.45)
    p.lip_upper = (p.lip_upper - 0.5 * male + 1.3 * (p.melanin - 0.4) - 0.6 * old).clamp(1.2, 6)
    p.lip_lower = (p.lip_lower - 0.5 * male + 1.3 * (p.melanin - 0.4) - 0.6 * old).clamp(1.8, 7)
    p.lip_red = p.lip_red * (1 - 0.75 * male)
    p.lash = p.lash * (1 - 0.4 * male)
    p.shadow_lid = p.shadow_lid * (1 - male)
    for name in ("moustache", "beard_chin", "beard_cheek", "shave_shadow"):
        setattr(p, name, getattr(p, name) * male)
    p.beard_chin = torch.maximum(p.beard_chin, p.beard_cheek)
    p.bald = p.bald * male * (0.3 + 0.7 * (p.age > 0.3))
    p.hair_length = (p.hair_length * (1 - 0.8 * male) + 0.3 * (1 - male)).clamp(0, 1)
    p.fringe = p.fringe * (1 - 0.3 * male) * (1 - (p.bald > 0).float())
    p.hairline = p.hairline - 7 * p.bald - 3 * old * male
    p.hair_gray = ((p.age - 0.74).clamp(min=0) / 0.26 * (0.4 + p.hair_gray)).clamp(0, 1)
    p.freckles = p.freckles * (p.melanin < 0.55)
    p.wrinkle = (p.age - 0.35).clamp(min=0) / 0.65
    return p


def person_traits(seed: int, person: Tensor) -> SimpleNamespace:
    """Traits of ``person`` (N,) int64, each float32 (N, 1, 1)."""
    return _correlate(_table(person, Draw(seed, Stream.PERSON_TRAITS), PERSON))


def shot_key(person: Tensor, shot: Tensor) -> Tensor:
    """One counter (N,) for a photograph, from which all its noise is drawn."""
    return person * SHOTS_PER_PERSON + shot


def shot_circumstances(seed: int, person: Tensor, shot: Tensor) -> SimpleNamespace:
    """Circumstances of photograph ``shot`` (N,) of ``person`` (N,), each float32 (N, 1, 1)."""
    s = _table(shot_key(person, shot), Draw(seed, Stream.PHOTO_CIRCUMSTANCES), SHOT)
    s.smile = torch.where(s.smile < 0, 0.25 * s.smile, s.smile)
    return s
