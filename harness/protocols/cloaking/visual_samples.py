"""What a cloaking cell keeps to be looked at: a few photos, and the plane on which one user's embeddings move."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.face_data import load_images
from frbench.harness.protocols.cloaking.photo_embeddings import Enrolment, Looks, Photos

PEOPLE = 10  # on the plane: the first user, whose cloaks are shown, and some others


def pictures(
    identity: np.ndarray, worn: np.ndarray, cloaked: Photos, behind: Enrolment, count: int
) -> dict[str, np.ndarray]:
    """The first cloaked photo of each of the first ``count`` users who have one, three times.

    worn: the photos that are cloaked, rising. Images float32 (n, H, W, 3) in [0, 1]: natural, cloaked, and purified,
    which is the cloaked photo behind the defense.
    """
    users, first = np.unique(identity[worn], return_index=True)
    rows = worn[first[:count]]
    images = {
        "natural": load_images(behind.natural.images, rows),
        "cloaked": load_images(cloaked.images, rows),
        "purified": behind.images(cloaked, rows).cpu() if len(rows) else load_images(cloaked.images, rows),
    }
    arrays = {name: each.permute(0, 2, 3, 1).numpy() for name, each in images.items()}
    return {**arrays, "index": rows, "user": users[:count]}


def plane(identity: np.ndarray, worn: np.ndarray, looks: Looks) -> dict[str, np.ndarray]:
    """Photos of ten people on two axes: float32 (n, 2) for each look. Of the first user those that are cloaked.

    worn: the photos that are cloaked; where the first user has none, all of that user's photos are shown.

    The axes are the principal ones of the first user's photos, natural and cloaked: on those of all people together
    the move of one of them is hardly seen.
    """
    own = worn[identity[worn] == 0]
    own = own if len(own) else np.flatnonzero(identity == 0)
    rows = np.concatenate([own, np.flatnonzero((identity > 0) & (identity < PEOPLE))])
    shown = torch.cat([_some(looks.natural.vectors, own), _some(looks.cloaked.vectors, own)])
    centre = shown.mean(dim=0)
    axes = torch.linalg.svd(shown - centre, full_matrices=False).Vh[:2]
    each = {"natural": looks.natural, "cloaked": looks.cloaked, "purified": looks.purified, "both": looks.both}
    points = {name: ((_some(seen.vectors, rows) - centre) @ axes.T).numpy() for name, seen in each.items()}
    return {"plane_user": identity[rows], **{f"plane_{name}": found for name, found in points.items()}}


def _some(vectors: Tensor, rows: np.ndarray) -> Tensor:
    return vectors.cpu()[torch.from_numpy(rows)]
