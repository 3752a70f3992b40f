"""Amplified cloaks as training data of PuFace: the perturbation of a cloak times a factor.

After the development code of PuFace (joy8023/face).

The method: docs/methods/puface.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from frbench.harness.core.contracts import Images
from frbench.harness.core.domains import BelowOne, NonEmpty, Positive
from frbench.harness.core.errors import ConfigError

Direction = Literal["forward", "reverse"]


def amplify(clean: Images, delta: Tensor, factor: float | Tensor, direction: Direction = "forward") -> Images:
    """Add ``delta`` (cloaked - clean), amplified, to ``clean`` and clip to [0, 1].

    Args:
        clean: uncloaked photos (N, 3, H, W).
        delta: perturbations of their cloaks.
        factor: amplification, a number or one per photo (N,).
        direction: ``forward`` is ``clean + factor * delta``; ``reverse``, as in PuFace's development code, is
            ``clean + (1 - factor) * delta``, where 1 is the clean photo.
    """
    scale = torch.as_tensor(factor, dtype=clean.dtype, device=clean.device).reshape(-1, 1, 1, 1)
    return torch.addcmul(clean, delta, scale if direction == "forward" else 1 - scale).clamp(0, 1)


@dataclass(frozen=True)
class Amplification:
    """Random amplification of cloaks.

    Attributes:
        factor: amplification, a number, or several of which each photo draws one uniformly.
        direction: ``forward`` is ``clean + factor * delta``, ``reverse`` is ``clean + (1 - factor) * delta``.
        clean_fraction: fraction of photos that stay uncloaked.
    """

    identity = "recipe.puface_amplification"
    version = 1

    factor: Positive | Annotated[Sequence[Positive], NonEmpty] = 5
    direction: Direction = "forward"
    clean_fraction: BelowOne = 0.2

    def __call__(self, clean: Images, delta: Tensor, generator: torch.Generator) -> Images:
        """Amplify the perturbations; raises ConfigError if there is no factor."""
        factors = torch.tensor(self.factor, dtype=clean.dtype, device=clean.device).reshape(-1)
        if not len(factors):
            raise ConfigError("factor=[] of the amplification is empty; give a number, or a list such as [1,2,3]")
        count, device = len(clean), clean.device
        chosen = factors[torch.randint(len(factors), (count,), generator=generator, device=device)]
        unchanged = torch.rand(count, generator=generator, device=device) < self.clean_fraction
        return torch.where(unchanged[:, None, None, None], clean, amplify(clean, delta, chosen, self.direction))
