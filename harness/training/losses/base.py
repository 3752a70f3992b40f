"""The input of every ensemble loss: the embeddings and class centers of one batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class EnsembleOutput:
    """The output of K members on one batch, float32.

    Args:
        embeddings: (B, K, d), of unit length.
        class_centers: (K, n, d), the rows of each member's head at unit length; (1, n, d) under a shared head.
        person: (B,) int64, the class labels.
        progress: Share of all training steps, in [0, 1].
    """

    embeddings: Tensor
    class_centers: Tensor
    person: Tensor
    progress: float = 1.0

    @cached_property
    def cosines(self) -> Tensor:
        """(B, K, n): cosine of each embedding with the class centers of its member."""
        return torch.matmul(self.embeddings.transpose(0, 1), self.class_centers.transpose(1, 2)).transpose(0, 1)

    @property
    def own(self) -> Tensor:
        """(B, K or 1, d): the class centers of the true classes."""
        return self.class_centers[:, self.person].transpose(0, 1)


class Term(Protocol):
    """A weighted term of the loss beside classification, with metrics to log by name."""

    def __call__(self, output: EnsembleOutput) -> tuple[Tensor, Mapping[str, Tensor]]: ...
