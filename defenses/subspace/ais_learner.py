"""Training objectives of AIS: the cost of masks through the recognizer, on noisy or on attacked faces.

After the authors' code (RenMin1991/SIDE at 95831a1).

The method: docs/methods/subspace_projections.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from frbench.defenses.subspace.ais_network import AisNetwork
from frbench.defenses.subspace.eigenfaces import Eigenspace, gray, to_rgb
from frbench.defenses.subspace.mask_losses import reinforce_loss, sample_masks
from frbench.defenses.subspace.masked_projection import StraightThroughMask
from frbench.harness.core.contracts import Recognizer
from frbench.harness.core.domains import NonNegative, PositiveInt
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import Images
from frbench.harness.core.verifiers import cosine


@dataclass(frozen=True)
class AisCost:
    """Cost of a mask: ``error / pixels + sparsity * kept + identity_loss * (1 - cosine)``.

    Attributes:
        sparsity: cost of a kept eigenface.
        identity_loss: weight of the recognizer's cosine between the purified and the clean gray face.
        estimator: ``reinforce`` (published) samples ``mask_samples`` masks per image; ``straight_through``
            differentiates the recognizer through ``mask_samples`` masks with the gradient of their probabilities, at
            far lower variance.
        mask_samples: masks per image.
    """

    identity = "recipe.ais_loss"
    version = 1

    sparsity: NonNegative = 3e-3
    identity_loss: NonNegative = 8.0
    estimator: Literal["reinforce", "straight_through"] = "reinforce"
    mask_samples: PositiveInt = 25

    def check_combination(self, where: str) -> None:
        if self.estimator == "reinforce" and self.mask_samples < 2:
            raise ConfigError(
                f"{where}.mask_samples={self.mask_samples}: estimator=reinforce needs 2 or more masks per image; "
                f"set {where}.mask_samples to at least 2"
            )


class SelectorLearner(nn.Module):
    """``Learner`` of the selector on perturbed faces; a subclass defines the perturbation.

    Args:
        network: the selector.
        space: the eigenfaces.
        cost: cost of a mask.
        recognizer: the recognizer of the identity loss, with gradients.
    """

    def __init__(self, network: AisNetwork, space: Eigenspace, cost: AisCost, recognizer: Recognizer) -> None:
        super().__init__()
        self.network, self.cost, self.recognizer = network, cost, recognizer
        self.mean = nn.Buffer(space.mean, persistent=False)
        self.basis = nn.Buffer(space.basis, persistent=False)

    @property
    def space(self) -> Eigenspace:
        return Eigenspace(self.mean, self.basis)

    def perturb(self, images: Images, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Perturbed gray faces (N, D) in [-1, 1]."""
        raise NotImplementedError

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        full_precision = torch.autocast(images.device.type, enabled=False)  # costs are small differences
        with full_precision:
            perturbed = self.perturb(images, rows, generator)
        logits = self.network(perturbed.reshape(-1, 1, *images.shape[2:])).float()
        with full_precision:
            return self.selection_loss(logits, images, perturbed, generator)

    def selection_loss(
        self, logits: Tensor, images: Images, perturbed: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Loss of the keep logits (B, N) for clean images and perturbed gray faces (B, D)."""
        faces = gray(images)
        with torch.no_grad():
            anchor = self.recognizer.embed(to_rgb(faces, images))
        masks = sample_masks(logits, self.cost.mask_samples, generator)  # (B, K, N)
        coefficients = self.space.coefficients(perturbed)[:, None]
        if self.cost.estimator == "straight_through":
            keep = logits.sigmoid()[:, None]
            masked = StraightThroughMask()(coefficients, keep, masks)
            costs, similarity = self.mask_costs(masked, masks + keep - keep.detach(), faces, anchor, images)
            loss = costs.mean()
        else:
            with torch.no_grad():
                costs, similarity = self.mask_costs(coefficients * masks, masks, faces, anchor, images)
            loss = reinforce_loss(logits, masks, costs, "image")
        return loss, {"cost": costs.mean(), "cosine": similarity.mean(), **self.metrics(logits.detach().sigmoid())}

    def mask_costs(
        self, masked: Tensor, bits: Tensor, faces: Tensor, anchor: Tensor, images: Images
    ) -> tuple[Tensor, Tensor]:
        """Costs and cosines of masks.

        Args:
            masked: masked coefficients (B, K, N).
            bits: the masks (B, K, N).
            faces: clean gray faces (B, D).
            anchor: embeddings of the clean gray faces.
            images: the clean images, for their shape.

        Returns:
            The costs and the cosines with ``anchor``, each (B, K).
        """
        count, draws = masked.shape[:2]
        purified_faces = self.space.faces(masked)
        error = (purified_faces - faces[:, None]).square().mean(dim=2)
        embeddings = self.recognizer.embed(to_rgb(purified_faces.flatten(0, 1), images))
        similarity = cosine(embeddings, anchor.repeat_interleave(draws, dim=0)).reshape(count, draws)
        cost = error + self.cost.sparsity * bits.sum(dim=2) + self.cost.identity_loss * (1 - similarity)
        return cost, similarity

    def metrics(self, keep: Tensor) -> Mapping[str, Tensor]:
        """The values that the authors log, for keep probabilities (B, N), and the number of live memory items."""
        kept = (keep > 0.5).float()
        count = len(keep)
        frequency = kept.mean(dim=0)
        values = {
            "sparsity": kept.sum(dim=1).mean(),
            "specificity": (2 * frequency * (1 - frequency)).sum() * count / (count - 1),  # mean Hamming distance
            "mutation": (keep - 0.5).abs().mean(),
            "spread": keep.std(dim=0).mean(),
        }
        memory = self.network.memory
        return values if memory is None else {**values, "live_items": memory.live()}

    def after_step(self, steps: int) -> None:
        pass


class NoiseLearner(SelectorLearner):
    """The warm-up: Gaussian noise of the standard deviation ``strength``."""

    def __init__(self, *parts: object, strength: float) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.strength = strength

    def perturb(self, images: Images, rows: Tensor, generator: torch.Generator) -> Tensor:
        faces = gray(images)
        return faces + self.strength * torch.randn(faces.shape, generator=generator, device=faces.device)
