"""A bank of image patches cut from the faces that a defense is fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from frbench.harness.core.contracts import Artifact, FitContext

_BLOCK = 512  # faces loaded at a time


@dataclass(frozen=True)
class PatchBank:
    """Recipe of ``patches``, RGB uint8 (num_patches, 3, patch_size, patch_size), at random positions of random faces.

    Attributes:
        num_patches: number of patches.
        patch_size: side of a patch in pixels.
    """

    identity = "recipe.patch_bank"
    version = 1

    num_patches: int
    patch_size: int

    needs_recognizer = False

    def fit(self, context: FitContext) -> Artifact:
        images = context.faces.images
        count, height, width, _ = images.shape
        random = np.random.default_rng(context.seed)
        face = np.sort(random.integers(count, size=self.num_patches))
        row = random.integers(height - self.patch_size + 1, size=self.num_patches)
        column = random.integers(width - self.patch_size + 1, size=self.num_patches)
        inside = np.arange(self.patch_size)
        cuts = []
        for block in np.array_split(np.arange(self.num_patches), max(1, self.num_patches // _BLOCK)):
            down, along = (row[block, None] + inside)[:, :, None], (column[block, None] + inside)[:, None]
            cuts.append(images[face[block]][np.arange(len(block))[:, None, None], down, along])
        return {"patches": torch.from_numpy(np.ascontiguousarray(np.concatenate(cuts).transpose(0, 3, 1, 2)))}
