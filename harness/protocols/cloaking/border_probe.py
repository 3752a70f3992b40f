"""Do cloaked photos differ from natural ones in their frame? Then a tracker may learn the frame and not the face."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from frbench.harness.core.face_data import load_images

THUMBNAIL, FOLDS = 8, 5
_TOGETHER = 256


def border_accuracy(natural: np.ndarray, cloaked: np.ndarray, identity: np.ndarray) -> float | None:
    """How often a linear probe tells cloaked from natural photos by the border of an 8x8 thumbnail; chance is one half.

    natural, cloaked: the same photos twice, uint8 (M, H, W, 3), cloaked ones alone: no probe tells a photo that nobody
    cloaked, and such photos would hide a frame. identity (M,): folds of the cross-validation never part a person.
    A crop that was framed or resized on its way through a cloaking tool is found (specs/cloaks_puface 3.2); what
    a cloak changes inside the face is averaged away. None without scikit-learn, or for fewer than two people.
    """
    people = len(np.unique(identity))
    if find_spec("sklearn") is None or people < 2:
        return None
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    seen = np.concatenate([borders(natural), borders(cloaked)])
    is_cloak = np.repeat([0, 1], len(identity))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = GroupKFold(min(FOLDS, people))
    return float(cross_val_score(probe, seen, is_cloak, groups=np.tile(identity, 2), cv=folds).mean())


def borders(photos: np.ndarray) -> np.ndarray:
    """The outermost ring of a thumbnail of each photo, and how much neighbours on it differ: float32 (M, 168).

    Differences show a frame in the mean colour of its photo, whose colours alone no linear probe would tell.
    """
    place = torch.arange(THUMBNAIL - 1)
    last = torch.full_like(place, THUMBNAIL - 1)
    down = torch.cat([place * 0, place, last, last - place])  # around the ring, so that neighbours follow each other
    across = torch.cat([place, last, last - place, place * 0])
    parts = []
    for first in range(0, len(photos), _TOGETHER):
        images = load_images(photos, np.arange(first, min(first + _TOGETHER, len(photos))))
        ring = adaptive_avg_pool2d(images, THUMBNAIL)[:, :, down, across]
        parts.append(torch.cat([ring, (ring - ring.roll(1, dims=2)).abs()], dim=1).flatten(1))
    return torch.cat(parts).numpy()
