"""Linear probe that recognizes cloaked photos by their borders alone: a tracker may learn the border, not the face."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from frbench.harness.core.face_data import load_images

THUMBNAIL, FOLDS = 8, 5
_BATCH = 256


def border_accuracy(natural: np.ndarray, cloaked: np.ndarray, identity: np.ndarray) -> float | None:
    """Accuracy of a linear probe that separates cloaked from natural photos by the border of an 8x8 thumbnail.

    A crop that a cloaking tool framed or resized is found; changes inside the face are averaged away.

    Args:
        natural: photos uint8 (M, H, W, 3).
        cloaked: the same photos cloaked. Photos that nobody cloaked would hide a frame, so leave them out.
        identity: person of each photo (M,); no person is in two folds of the cross-validation.

    Returns:
        Cross-validated accuracy, 0.5 for chance; None without scikit-learn or with fewer than two people.
    """
    people = len(np.unique(identity))
    if find_spec("sklearn") is None or people < 2:
        return None
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = np.concatenate([border_features(natural), border_features(cloaked)])
    is_cloaked = np.repeat([0, 1], len(identity))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = GroupKFold(min(FOLDS, people))
    return float(cross_val_score(probe, features, is_cloaked, groups=np.tile(identity, 2), cv=folds).mean())


def border_features(photos: np.ndarray) -> np.ndarray:
    """The outermost ring of a thumbnail of each photo and the differences of its neighbours: float32 (M, 168).

    Differences show a frame in the mean colour of its photo, which a linear probe cannot find by the colours alone.
    """
    place = torch.arange(THUMBNAIL - 1)
    last = torch.full_like(place, THUMBNAIL - 1)
    down = torch.cat([place * 0, place, last, last - place])  # around the ring, so that neighbours are adjacent
    across = torch.cat([place, last, last - place, place * 0])
    parts = []
    for first in range(0, len(photos), _BATCH):
        images = load_images(photos, np.arange(first, min(first + _BATCH, len(photos))))
        ring = adaptive_avg_pool2d(images, THUMBNAIL)[:, :, down, across]
        parts.append(torch.cat([ring, (ring - ring.roll(1, dims=2)).abs()], dim=1).flatten(1))
    return torch.cat(parts).numpy()
