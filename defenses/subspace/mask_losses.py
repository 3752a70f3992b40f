"""What a choice of eigenvectors costs, and two ways to descend it (specs/pin_ais 3.2; the closed form is inferred).

With coefficients c of the clean face, a of the noisy one and residual r (energy of the clean face outside the basis),
the squared error of the projection on the mask s is ``r + sum_i [s_i (a_i - c_i)^2 + (1 - s_i) c_i^2]``.
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
    """``error / pixels + sparsity * kept`` where ``reduction`` is mean, ``error + sparsity * kept`` where it is sum.

    Published: mean and 0.015, which keeps almost nothing; sum and 0.015 is mean and 1.2e-6 at 112x112 pixels.
    """

    identity = "loss.mask_cost"
    version = 1

    sparsity: NonNegative
    reduction: Literal["mean", "sum"] = "mean"

    def per_eigenvector(self, clean: Tensor, noisy: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """(base (B,), slope (B, N)): the cost of mask s is ``base + s @ slope``, without the residual outside."""
        scale = pixels if self.reduction == "mean" else 1
        dropped = clean.square() / scale
        return dropped.sum(dim=1), (noisy - clean).square() / scale + self.sparsity - dropped

    def of(self, masks: Tensor, clean: Tensor, noisy: Tensor, residual: Tensor, pixels: int) -> Tensor:
        """Cost (B, K) of masks (B, K, N); with probabilities for masks, the expected cost."""
        base, slope = self.per_eigenvector(clean, noisy, pixels)
        scale = pixels if self.reduction == "mean" else 1
        return (base + residual / scale)[:, None] + torch.einsum("bkn,bn->bk", masks, slope)

    def oracle(self, clean: Tensor, noisy: Tensor, pixels: int) -> Tensor:
        """The mask of least cost (B, N), bool: keep where ``c^2 > (a - c)^2 + sparsity * scale``."""
        return self.per_eigenvector(clean, noisy, pixels)[1] < 0


def log_likelihood(logits: Tensor, masks: Tensor) -> Tensor:
    """log P(mask) (B, K) of masks (B, K, N) under independent bits with ``logits`` (B, N)."""
    keep, drop = logsigmoid(logits), logsigmoid(-logits)
    return torch.einsum("bkn,bn->bk", masks, keep - drop) + drop.sum(dim=1)[:, None]


def score_function_loss(
    logits: Tensor, masks: Tensor, costs: Tensor, baseline: Literal["batch", "image", "others"]
) -> Tensor:
    """REINFORCE: ``mean_b sum_k (cost - baseline) * log P``, whose gradient is that of the cost, about K times.

    baseline: the mean over the whole batch (PIN's), over the image's masks (AIS's), or over its other masks. The
    expected gradient is that of the mean cost times K - 1/B, K - 1 and K.
    """
    masses = costs.detach()
    if baseline == "batch":
        centred = masses - masses.mean()
    elif baseline == "image":
        centred = masses - masses.mean(dim=1, keepdim=True)
    else:
        count = masses.shape[1]
        centred = (masses - masses.mean(dim=1, keepdim=True)) * count / (count - 1)
    return (centred * log_likelihood(logits, masks)).sum(dim=1).mean()


def draw_masks(logits: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` masks (B, count, N) of zeros and ones, each bit kept with probability sigmoid(logits)."""
    keep = logits.detach().float().sigmoid()[:, None].expand(-1, count, -1)
    return torch.bernoulli(keep, generator=generator)
