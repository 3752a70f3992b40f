"""Cloaks made stronger than they are, to learn from: k times what they add to a photo (specs/cloaks_puface 5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from frbench.harness.core.contracts import Images
from frbench.harness.core.domains import BelowOne, NonEmpty, Positive
from frbench.harness.core.errors import ConfigError

Mode = Literal["plain", "dev"]


def amplify(natural: Images, delta: Tensor, k: float | Tensor, mode: Mode = "plain") -> Images:
    """``natural`` with a ``delta`` (cloaked - natural) of k times its size, clipped to [0, 1]; k a number, or (N,).

    mode: ``plain`` is ``natural + k delta``; ``dev`` is ``natural + (1 - k) delta``, the other way, as the development
    code of PuFace has it, where 1 is the natural photo itself.
    """
    factor = torch.as_tensor(k, dtype=natural.dtype, device=natural.device).reshape(-1, 1, 1, 1)
    return torch.addcmul(natural, delta, factor if mode == "plain" else 1 - factor).clamp(0, 1)


@dataclass(frozen=True)
class Amplification:
    """k: a number, or several that are drawn alike, photo by photo. natural: the share of photos left as they are."""

    identity = "recipe.puface_amplification"
    version = 1

    k: Positive | Annotated[Sequence[Positive], NonEmpty] = 5
    mode: Mode = "plain"
    natural: BelowOne = 0.2

    def __call__(self, natural: Images, delta: Tensor, generator: torch.Generator) -> Images:
        """Raises FrbenchError: no k."""
        known = torch.tensor(self.k, dtype=natural.dtype, device=natural.device).reshape(-1)
        if not len(known):
            raise ConfigError("k=[] of the amplification: give a number, or a list of them such as [1,2,3,4,5]")
        count, device = len(natural), natural.device
        k = known[torch.randint(len(known), (count,), generator=generator, device=device)]
        left = torch.rand(count, generator=generator, device=device) < self.natural
        return torch.where(left[:, None, None, None], natural, amplify(natural, delta, k, self.mode))
