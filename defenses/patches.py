"""A bank of small patches of other people's faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from frbench.harness.contracts import Artifact, FitContext


@dataclass(frozen=True)
class PatchBank:
    """Recipe: ``patches`` uint8 (bank, 3, patch, patch), RGB, cut at random places of random faces."""

    bank: int
    patch: int

    needs_recognizer = False

    def fit(self, context: FitContext) -> Artifact:
        images = context.faces.images
        count, height, width, _ = images.shape
        random = np.random.default_rng(context.seed)
        face = np.sort(random.integers(count, size=self.bank))
        row = random.integers(height - self.patch + 1, size=self.bank)
        column = random.integers(width - self.patch + 1, size=self.bank)
        inside = np.arange(self.patch)
        cut = images[face[:, None, None], (row[:, None] + inside)[:, :, None], (column[:, None] + inside)[:, None]]
        return {"patches": torch.from_numpy(np.ascontiguousarray(cut.transpose(0, 3, 1, 2)))}
