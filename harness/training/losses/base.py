"""What an objective of an ensemble looks at, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Seen:
    """One batch, as K members saw it, in float32.

    units: (B, K, d) embeddings of unit length. centres: (K, n, d) unit rows of each member's head, or (1, n, d) where
    they share one. person: (B,) int64. progress: the share of the training that is over, in [0, 1].
    """

    units: Tensor
    centres: Tensor
    person: Tensor
    progress: float = 1.0

    @cached_property
    def cosines(self) -> Tensor:
        """(B, K, n), of each member with its own head."""
        return torch.matmul(self.units.transpose(0, 1), self.centres.transpose(1, 2)).transpose(0, 1)

    @property
    def own(self) -> Tensor:
        """(B, K or 1, d), the rows of each one's own person."""
        return self.centres[:, self.person].transpose(0, 1)


class Term(Protocol):
    """A part of the loss beside classification, already weighted, and figures to log by name."""

    def __call__(self, seen: Seen) -> tuple[Tensor, Mapping[str, Tensor]]: ...
