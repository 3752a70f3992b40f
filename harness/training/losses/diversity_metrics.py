"""What an ensemble's features have in common: their angles, and whether a rotation hides their likeness.

Members with a head each may differ by a rotation alone: then they are not diverse at all. Spec: ensemble_attacks 2.4.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from frbench.harness.training.losses.base import Seen
from frbench.harness.training.losses.diversity import pairwise_cosine


def tilt(seen: Seen) -> Tensor:
    """(B, K): degrees between each member's embedding and the row of the person."""
    return (seen.units * seen.own).sum(dim=2).clamp(-1, 1).acos().rad2deg()


def rotation(rows: Tensor, onto: Tensor) -> Tensor:
    """The orthogonal (d, d) matrix Q for which ``rows`` Q is nearest to ``onto``, both (n, d): Procrustes."""
    left, _, right = torch.linalg.svd(rows.T.double() @ onto.double())
    return (left @ right).to(rows.dtype)


def rotated_cosine(seen: Seen) -> Tensor:
    """Mean cosine over images and pairs of members, each turned as its head must be turned to the other's.

    Near 1: the members say the same in other coordinates. Under a shared head nothing is turned.
    """
    count = seen.units.shape[1]
    heads = seen.centres.expand(count, -1, -1)
    turned = [
        (seen.units[:, one] @ rotation(heads[one], heads[other]) * seen.units[:, other]).sum(dim=1)
        if len(seen.centres) > 1
        else (seen.units[:, one] * seen.units[:, other]).sum(dim=1)
        for one, other in combinations(range(count), 2)
    ]
    return torch.stack(turned).mean()


def diagnosis(seen: Seen) -> dict[str, Tensor]:
    """``tilt`` in degrees (K,); of several members also ``cosine`` and ``rotated_cosine``, means over pairs."""
    found = {"tilt": tilt(seen).mean(dim=0)}
    if seen.units.shape[1] > 1:
        found |= {"cosine": pairwise_cosine(seen.units).mean(), "rotated_cosine": rotated_cosine(seen)}
    return found
