"""PIN and AIS trained as in the authors' code, image by image with K masked copies of the basis, for the benchmark.

The results equal those of frbench. Unlike the authors' code it does not expand the mask to the size of the copies.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from frbench.defenses.subspace.ais import AdversarialLearner
from frbench.defenses.subspace.eigenfaces import Eigenspace, to_rgb
from frbench.defenses.subspace.mask_losses import reinforce_loss, sample_masks
from frbench.defenses.subspace.pin import PinLearner
from frbench.harness.core.verifiers import cosine


def projected(space: Eigenspace, faces: Tensor, masks: Tensor) -> Tensor:
    """``mean + E_s E_s^T (x - mean)`` (B, K, D) of gray faces (B, D) on masks (B, K, N), by masked copies of E."""
    return torch.stack([_of_one(space, face, mask) for face, mask in zip(faces, masks, strict=True)])


def _of_one(space: Eigenspace, face: Tensor, masks: Tensor) -> Tensor:
    copies = space.basis * masks[:, None]
    return space.mean + (copies @ (copies.mT @ (face - space.mean)[:, None]))[..., 0]


def costs(space: Eigenspace, sparsity: float, disturbed: Tensor, clean: Tensor, masks: Tensor) -> Tensor:
    """Cost (B, K) of masks: mean squared error plus ``sparsity`` for each kept eigenface."""
    error = (projected(space, disturbed, masks) - clean[:, None]).square().mean(dim=2)
    return error + sparsity * masks.sum(dim=2)


class PinByCopies(PinLearner):
    """Learner of PIN with the estimator reinforce."""

    def selection_loss(
        self, logits: Tensor, faces: Tensor, disturbed: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        recipe, space = self.recipe, Eigenspace(self.mean, self.basis)
        masks = sample_masks(logits, recipe.mask_samples, generator)
        with torch.no_grad():
            found = costs(space, recipe.cost.sparsity, disturbed.flatten(1), faces.flatten(1), masks)
        return reinforce_loss(logits, masks, found, recipe.baseline), {}


class AisByCopies(AdversarialLearner):
    """Learner of the adversarial phase of AIS with the estimator reinforce."""

    def perturb(self, *given: Any) -> Tensor:
        self.attacked = super().perturb(*given)
        return self.attacked

    def mask_costs(
        self, gated: Tensor, bits: Tensor, faces: Tensor, anchor: Tensor, images: Tensor
    ) -> tuple[Tensor, Tensor]:
        found = projected(self.space, self.attacked, bits)
        error = (found - faces[:, None]).square().mean(dim=2) + self.cost.sparsity * bits.sum(dim=2)
        embeddings = self.recognizer.embed(to_rgb(found.flatten(0, 1), images))
        likeness = cosine(embeddings, anchor.repeat_interleave(bits.shape[1], dim=0)).reshape(error.shape)
        return error + self.cost.identity_loss * (1 - likeness), likeness
