"""Whom a targeted cloak resembles: somebody far from all of the user's photos."""

from __future__ import annotations

import torch
from torch import Tensor


def farthest_targets(features: Tensor, class_means: Tensor, generator: torch.Generator, among: int = 20) -> int:
    """The class (a row of ``class_means``, (K, D)) that a user with ``features`` (n, D) is to resemble.

    Uniform among the ``among`` classes whose mean is farthest from the nearest of the photos (specs/cloaks_puface 3.3).
    """
    nearest = torch.cdist(features, class_means).amin(dim=0)
    farthest = nearest.topk(min(among, len(nearest))).indices
    return int(farthest[torch.randint(len(farthest), (), generator=generator)])
