"""A bank of image patches cut from the faces that a defense is fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from frbench.harness.core.contracts import Artifact, FitContext

_BLOCK = 512  # faces loaded at a time


@dataclass(frozen=True)
class PatchBank:
    """Recipe of ``patches``, uint8 (bank, 3, patch, patch) in RGB, at uniform random positions of random faces.

    Attributes:
        bank: number of patches.
        patch: side of a patch in pixels.
    """

    identity = "recipe.patch_bank"
    version = 1

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
        cuts = []
        for block in np.array_split(np.arange(self.bank), max(1, self.bank // _BLOCK)):
            down, along = (row[block, None] + inside)[:, :, None], (column[block, None] + inside)[:, None]
            cuts.append(images[face[block]][np.arange(len(block))[:, None, None], down, along])
        return {"patches": torch.from_numpy(np.ascontiguousarray(np.concatenate(cuts).transpose(0, 3, 1, 2)))}
