"""Images and embeddings that a cloaking cell keeps for figures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.face_data import load_images
from frbench.harness.protocols.cloaking.photo_embeddings import EmbeddedPhotos, PhotoEncoder, Photos

PEOPLE = 10  # whose embeddings are projected: the first user, whose cloaks are shown, and the next nine


def sample_images(
    identity: np.ndarray, cloaked: np.ndarray, published: Photos, encoder: PhotoEncoder, count: int
) -> dict[str, np.ndarray]:
    """The first cloaked photo of each of the first ``count`` users who have one.

    Args:
        identity: user of each photo (M,).
        cloaked: numbers of the cloaked photos, ascending.
        published: what users publish.
        encoder: the tracker with its defense.
        count: number of users.

    Returns:
        float32 (n, H, W, 3) in [0, 1]: ``natural``, ``cloaked`` and ``purified``, the cloaked photo after the defense;
        ``index`` and ``user`` (n,).
    """
    users, first = np.unique(identity[cloaked], return_index=True)
    rows = cloaked[first[:count]]
    images = {
        "natural": load_images(encoder.natural.images, rows),
        "cloaked": load_images(published.images, rows),
        "purified": encoder.images(published, rows).cpu() if len(rows) else load_images(published.images, rows),
    }
    arrays = {name: each.permute(0, 2, 3, 1).numpy() for name, each in images.items()}
    return {**arrays, "index": rows, "user": users[:count]}


def projected_embeddings(identity: np.ndarray, cloaked: np.ndarray, embedded: EmbeddedPhotos) -> dict[str, np.ndarray]:
    """Embeddings of ten people on two axes: float32 (n, 2) for each version of the photos.

    The axes are the principal components of the first user's photos, natural and cloaked: on those of all people the
    move of one user is hardly visible.

    Args:
        identity: user of each photo (M,).
        cloaked: numbers of the cloaked photos, ascending; without any of the first user, all photos of that user are
            shown.
        embedded: all photos.
    """
    own = cloaked[identity[cloaked] == 0]
    own = own if len(own) else np.flatnonzero(identity == 0)
    rows = np.concatenate([own, np.flatnonzero((identity > 0) & (identity < PEOPLE))])
    spread = torch.cat([_rows(embedded.natural.vectors, own), _rows(embedded.cloaked.vectors, own)])
    centre = spread.mean(dim=0)
    axes = torch.linalg.svd(spread - centre, full_matrices=False).Vh[:2]
    versions = {
        "natural": embedded.natural,
        "cloaked": embedded.cloaked,
        "purified": embedded.purified,
        "both": embedded.purified_cloaked,
    }
    points = {name: ((_rows(each.vectors, rows) - centre) @ axes.T).numpy() for name, each in versions.items()}
    return {"plane_user": identity[rows], **{f"plane_{name}": found for name, found in points.items()}}


def _rows(vectors: Tensor, rows: np.ndarray) -> Tensor:
    return vectors.cpu()[torch.from_numpy(rows)]
