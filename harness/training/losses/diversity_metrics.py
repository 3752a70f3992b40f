"""Similarity of members' features, also after the rotation that aligns their heads best.

Members with a head each may differ by a rotation alone, and are not diverse then.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from frbench.harness.training.losses.base import EnsembleOutput
from frbench.harness.training.losses.diversity import pairwise_cosine


def tilt(output: EnsembleOutput) -> Tensor:
    """(B, K): angle in degrees between each member's embedding and the true class center."""
    return (output.embeddings * output.own).sum(dim=2).clamp(-1, 1).acos().rad2deg()


def rotation(rows: Tensor, onto: Tensor) -> Tensor:
    """The orthogonal (d, d) matrix Q for which ``rows`` Q is nearest to ``onto``, both (n, d): Procrustes."""
    left, _, right = torch.linalg.svd(rows.T.double() @ onto.double())
    return (left @ right).to(rows.dtype)


def rotated_cosine(output: EnsembleOutput) -> Tensor:
    """Mean cosine over images and pairs of members, after rotating the head of one member onto that of the other.

    Near 1, the members embed alike in other coordinates. Under a shared head nothing is rotated.
    """
    count = output.embeddings.shape[1]
    heads = output.class_centers.expand(count, -1, -1)
    rotated = [
        (output.embeddings[:, one] @ rotation(heads[one], heads[other]) * output.embeddings[:, other]).sum(dim=1)
        if len(output.class_centers) > 1
        else (output.embeddings[:, one] * output.embeddings[:, other]).sum(dim=1)
        for one, other in combinations(range(count), 2)
    ]
    return torch.stack(rotated).mean()


def diagnosis(output: EnsembleOutput) -> dict[str, Tensor]:
    """``tilt`` in degrees (K,); of several members also ``cosine`` and ``rotated_cosine``, means over pairs."""
    found = {"tilt": tilt(output).mean(dim=0)}
    if output.embeddings.shape[1] > 1:
        found |= {"cosine": pairwise_cosine(output.embeddings).mean(), "rotated_cosine": rotated_cosine(output)}
    return found
