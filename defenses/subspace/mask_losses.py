"""The cost of a mask over eigenfaces, its closed form, and the REINFORCE estimator of its gradient.

The cost is that of the authors' code of PIN (Ren et al., IEEE TIFS 2022); the closed form follows from it. With
coefficients c of the clean face, a of the noisy face and the energy r of the clean face outside the basis, the squared
error of the projection with mask s is ``r + sum_i [s_i (a_i - c_i)^2 + (1 - s_i) c_i^2]``.

The method: docs/methods/subspace_projections.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from frbench.harness.core.domains import NonNegative


@dataclass(frozen=True)
class MaskCost:
    """Reconstruction error plus ``sparsity`` for each kept eigenface.

    Attributes:
        sparsity: cost of a kept eigenface. The published 0.015 with ``mean`` keeps almost none; with ``sum`` it equals
            1.2e-6 with ``mean`` at 112x112 pixels.
        reduction: ``mean`` or ``sum`` of squared errors over pixels.
    """

    identity = "loss.mask_cost"
    version = 1

    sparsity: NonNegative
    reduction: Literal["mean", "sum"] = "mean"

    def per_eigenvector(self, clean: Tensor, noisy: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """Base (B,) and slope (B, N) of the cost ``base + s @ slope`` of a mask s within the basis."""
        scale = pixels if self.reduction == "mean" else 1
        dropped = clean.square() / scale
        return dropped.sum(dim=1), (noisy - clean).square() / scale + self.sparsity - dropped

    def evaluate(self, masks: Tensor, clean: Tensor, noisy: Tensor, residual: Tensor, pixels: int) -> Tensor:
        """Cost (B, K) of masks (B, K, N), or the expected cost if these are keep probabilities."""
        base, slope = self.per_eigenvector(clean, noisy, pixels)
        scale = pixels if self.reduction == "mean" else 1
        return (base + residual / scale)[:, None] + torch.einsum("bkn,bn->bk", masks, slope)

    def oracle(self, clean: Tensor, noisy: Tensor, pixels: int) -> Tensor:
        """Mask of least cost, bool (B, N): keep where ``c^2 > (a - c)^2 + sparsity * scale``."""
        return self.per_eigenvector(clean, noisy, pixels)[1] < 0


def log_likelihood(logits: Tensor, masks: Tensor) -> Tensor:
    """Log-likelihood (B, K) of masks (B, K, N) under independent Bernoulli bits with ``logits`` (B, N)."""
    keep, drop = logsigmoid(logits), logsigmoid(-logits)
    return torch.einsum("bkn,bn->bk", masks, keep - drop) + drop.sum(dim=1)[:, None]


def reinforce_loss(
    logits: Tensor, masks: Tensor, costs: Tensor, baseline: Literal["batch", "image", "others"]
) -> Tensor:
    """REINFORCE (Williams, 1992): ``mean_b sum_k (cost - baseline) * log P``, a surrogate loss of the expected cost.

    Its expected gradient is that of the mean cost times K - 1/B (``batch``), K - 1 (``image``) or K (``others``).

    Args:
        logits: keep logits (B, N).
        masks: sampled masks (B, K, N).
        costs: their costs (B, K).
        baseline: mean cost of the batch (PIN), of the image's masks (AIS), or of the image's other masks.
    """
    rewards = costs.detach()
    if baseline == "batch":
        centred = rewards - rewards.mean()
    elif baseline == "image":
        centred = rewards - rewards.mean(dim=1, keepdim=True)
    else:
        count = rewards.shape[1]
        centred = (rewards - rewards.mean(dim=1, keepdim=True)) * count / (count - 1)
    return (centred * log_likelihood(logits, masks)).sum(dim=1).mean()


def sample_masks(logits: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Sample ``count`` masks (B, count, N) of zeros and ones with keep probability ``sigmoid(logits)``."""
    keep = logits.detach().float().sigmoid()[:, None].expand(-1, count, -1)
    return torch.bernoulli(keep, generator=generator)
