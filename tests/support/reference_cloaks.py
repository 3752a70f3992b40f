"""Small faces of a few people and a cloak that is easy to tell from them, for the tests of what learns from cloaks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from support.reference_fits import faces
from torch import Tensor

from frbench.harness.core.contracts import AttackResult, Budget, Goal, View
from frbench.harness.core.face_data import FaceSet, PairBatch

SIDE, COUNT = 16, 150


@dataclass(frozen=True)
class Squares:
    """A chequered pattern of ``levels`` gray levels. Notes what it is asked."""

    asked: list[PairBatch] = field(default_factory=list, compare=False)
    fails_at: int | None = field(default=None, compare=False)
    levels: int = 10

    needs_gradient = False
    bounded = False
    stops_early = False
    batch_dependent = False

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        self.asked.append(pairs)
        if len(self.asked) == self.fails_at:
            raise KeyboardInterrupt
        images = (pairs.probe + self.levels / 255 * pattern(SIDE)).clamp(0, 1)
        return AttackResult(images, torch.zeros(len(pairs), dtype=torch.bool), torch.zeros(len(pairs)))


def pattern(side: int) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return ((rows // 2 + columns // 2) % 2).float() * 2 - 1


def people(count: int = COUNT, shots: int = 5) -> FaceSet:
    return replace(faces(count, SIDE), identity=np.arange(count) // shots)
