"""Folders of photos to protect, a stand-in of a detector, and an attack on a toy network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.core.contracts import Recognizer
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.images.pasting import Aligned
from frbench.harness.photo_cloaking.cloaker import Cloaker
from frbench.harness.threat_model.budgets import Linf
from frbench.harness.threat_model.goals import Cloak

cv2 = pytest.importorskip("cv2")

Snapshot = dict[str, tuple[bytes, int]]


def similarity(side: float, angle: float, middle: tuple[float, float]) -> np.ndarray:
    """Photo to crop, of a face whose crop spans ``side`` pixels of the photo, turned, with its middle there."""
    scale, turn = 112 / side, np.deg2rad(angle)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.concatenate([matrix, (55.5 - matrix @ np.array(middle))[:, None]], 1)


# Where the stand-in of a detector sees faces, by the width of the photo.
FACES = {
    240: [similarity(130, 8, (120, 110))],
    320: [similarity(90, -10, (70, 80)), similarity(60, 0, (200, 60)), similarity(100, 25, (230, 150))],
    200: [],
}


def find(photo: np.ndarray) -> Aligned:
    matrices = np.array(FACES[photo.shape[1]]).reshape(-1, 2, 3)
    crops = [cv2.warpAffine(photo, matrix, (112, 112)) for matrix in matrices]
    return Aligned(np.array(crops, np.uint8).reshape(-1, 112, 112, 3), matrices)


def picture(width: int, seed: int = 0) -> Image.Image:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(220, width, 3)), (8, 8, 0))
    return Image.fromarray(((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8))


def toy_cloaker(recognizer: Recognizer) -> Cloaker:
    """Three steps of PGD, within 8/255."""
    attack = ProjectedDescent(steps=3, rel_stepsize=2 / 3)
    return Cloaker(CosineVerifier(recognizer), attack, Cloak(), Linf(8 / 255), 0.02, 0, 4, torch.device("cpu"))


def photo_folder(root: Path) -> Path:
    """A portrait, a group photo, a photo without a face, a damaged file, a letter, and a text file."""
    root.mkdir()
    picture(240).save(root / "portrait.jpg", quality=90)
    picture(320, 1).save(root / "group.png")
    picture(200).save(root / "landscape.webp")
    (root / "damaged.JPG").write_bytes((root / "portrait.jpg").read_bytes()[:2000])
    (root / "letter.bmp").write_text("dear friend")
    (root / "notes.txt").write_text("these are notes")
    return root


def snapshot(root: Path) -> Snapshot:
    found = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def lines(out: str) -> dict[str, str]:
    """What is told of each file, by name; the last line under nothing."""
    *each, last = out.splitlines()
    return {"": last} | dict(line.split(": ", 1) for line in each)
