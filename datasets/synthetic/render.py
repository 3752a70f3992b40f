"""Procedural photographs of people who do not exist: 112x112 RGB faces on the five-point template.

A head is a lit solid (``synthetic_shape``, ``synthetic_light``) with painted features (``synthetic_paint``), hair,
ears and glasses before a backdrop, photographed by ``synthetic_camera``. ``render`` is a pure function of
(seed, person, shot).
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from frbench.datasets.synthetic import camera
from frbench.datasets.synthetic.extras import ears, put_on_glasses
from frbench.datasets.synthetic.hair import shade_hair, trace_hair
from frbench.datasets.synthetic.light import hollows, light_direction, shade, shadow, tint
from frbench.datasets.synthetic.paint import (
    hair_base,
    ink,
    over,
    paint_beard,
    paint_brows,
    paint_eyes,
    paint_lines,
    paint_mouth,
    paint_nose,
    paint_skin,
    skin_base,
)
from frbench.datasets.synthetic.shape import SIZE, Surface, head_surface, meet, outline, rays, smooth
from frbench.datasets.synthetic.traits import person_traits, shot_circumstances, shot_key
from frbench.harness.core.contracts import Draw
from frbench.harness.core.counter_rng import Stream, uniform

CHUNK = 8  # images drawn at once, always: shapes never change, so neither does a single rounding
_FAR = -70.0


def _backdrop(s: SimpleNamespace, key: Tensor, seed: int) -> Tensor:
    """A room out of focus: a few coloured blobs, interpolated."""
    n = len(key)
    blobs = uniform(key, Draw(seed, Stream.BACKDROP), (4, 5, 5))
    gray, tint = blobs[:, :1] - 0.5, blobs[:, 1:] - 0.5
    field = functional.interpolate(gray + 0.45 * tint, size=(SIZE, SIZE), mode="bicubic", align_corners=True)
    hue = 1 + 0.45 * (uniform(key, Draw(seed, Stream.BACKDROP_HUE), (3, 1, 1)) - 0.5)
    level = (s.backdrop**1.6).view(n, 1, 1, 1)
    return (level * hue * (1 + 2.2 * s.backdrop_contrast.unsqueeze(1) * field)).clamp(min=0.003)


def _face_albedo(
    p: SimpleNamespace, s: SimpleNamespace, head: Surface, noise: Tensor, light: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Painted skin, and the glint in the eyes."""
    x, y = head.x, head.y
    base, hair = skin_base(p), hair_base(p)
    skin = paint_skin(p, x, y, noise) * paint_lines(p, s, x, y) * paint_nose(p, x, y)
    beard, shaven = paint_beard(p, s, x, y, noise)
    skin = skin * ink(shaven.clamp(0, 0.6), 0.62, 0.55, 0.45)
    skin = paint_mouth(p, s, skin, x, y, base)
    skin = over(skin, hair * 0.9 + 0.004, beard)
    skin, glint = paint_eyes(p, s, skin, x, y, (light[0], light[1]))
    return over(skin, hair * 0.75 + 0.004, paint_brows(p, s, x, y, noise)), glint


def _photograph(p: SimpleNamespace, s: SimpleNamespace, noise: Tensor, backdrop: Tensor) -> Tensor:
    """Linear light (N, 3, 112, 112) that reaches the camera."""
    r = rays(p, s)
    head = head_surface(p, s, r)
    hair = trace_hair(p, s, r, noise)
    w2 = (25.0 + 4.0 * p.male) ** 2 * torch.ones_like(head.x)
    neck_near, neck_margin = meet(r, w2, w2, -14.0)
    neck_y = r.at(neck_near)[1]
    neck = outline(neck_margin) * smooth(18.0, 26.0, neck_y)
    solid = torch.where(head.cover > 0.5, head.near, torch.where(neck > 0.5, neck_near, torch.full_like(neck, _FAR)))
    depth = torch.where(hair.front > 0.5, torch.maximum(hair.surface.near, solid), solid)
    light = light_direction(s)
    lit, hollow = shadow(depth, light, s.shadow_soft), hollows(depth)
    albedo, glint = _face_albedo(p, s, head, noise, light)
    face = shade(albedo, head.near, s, lit, hollow, 0.045)
    face = face + (glint * (0.35 + 0.65 * lit) * s.light_strength * 0.9).unsqueeze(1)
    skin = skin_base(p)
    body = shade(skin * 0.92, neck_near, s, lit, hollow * 0.8, 0.02)
    ear, ear_cover = ears(p, r, skin, head)
    ear = ear * (
        tint(s.light_warm) * s.light_strength.unsqueeze(1) * 0.9 * (0.35 + 0.65 * lit).unsqueeze(1)
        + s.ambient.unsqueeze(1)
    )
    locks = shade_hair(p, s, hair, lit, hollow)
    image = over(backdrop, locks * 0.30, hair.behind)
    image = over(image, body, neck)
    image = over(image, face, head.cover)
    image = over(image, ear, ear_cover)
    image = over(image, locks, hair.front)
    return put_on_glasses(p, s, r, head, image)


@torch.inference_mode()
def _render_chunk(seed: int, person: Tensor, shot: Tensor) -> np.ndarray:
    p, s = person_traits(seed, person), shot_circumstances(seed, person, shot)
    key = shot_key(person, shot)
    noise = (uniform(person, Draw(seed, Stream.SKIN_TEXTURE), (5, 48, 48)) - 0.5) * 12**0.5
    image = camera.tone(_photograph(p, s, noise, _backdrop(s, key, seed)), s)
    image = camera.blur(image, s.blur) + camera.sensor_noise(key, seed, s.sensor, SIZE)
    pixels = (camera.compress(image, s.compression) * 255).round_().clamp_(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).numpy()


def render(people_seed: int, person: np.ndarray, shot: np.ndarray) -> np.ndarray:
    """Photographs ``shot`` (N,) of ``person`` (N,), uint8 (N, 112, 112, 3) RGB, aligned to the template.

    Each image depends on (people_seed, person, shot) alone, whatever else is rendered with it, and on however
    many threads: each chunk is drawn by one.
    """
    persons = torch.as_tensor(np.asarray(person), dtype=torch.int64)
    shots = torch.as_tensor(np.asarray(shot), dtype=torch.int64)
    out = np.empty((len(persons), SIZE, SIZE, 3), np.uint8)
    threads = torch.get_num_threads()

    def chunk(start: int) -> None:
        rows = torch.arange(start, start + CHUNK).clamp(max=len(persons) - 1)
        images = _render_chunk(people_seed, persons[rows], shots[rows])
        out[start : start + CHUNK] = images[: len(persons) - start]

    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            deque(pool.map(chunk, range(0, len(persons), CHUNK)), maxlen=0)
    finally:
        torch.set_num_threads(threads)
    return out
