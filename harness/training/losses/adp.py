"""Adaptive diversity promoting (Pang et al., ICML 2019), in a form that is safe for many classes.

Diversity of predictions: the members' probabilities of the wrong classes should span a large volume, and the mean of
all their probabilities should be spread out. Spec: ensemble_attacks 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from frbench.harness.core.domains import NonNegative, Positive
from frbench.harness.training.losses.base import Seen
from frbench.harness.training.losses.diversity import log_volume


@dataclass(frozen=True)
class Adp:
    """Minus ``alpha`` times the entropy of the mean prediction, minus ``beta`` times the log of the volume of the wrong
    predictions; both of logits without margin, ``scale`` times the cosines. Fewer members than people.

    The classification beside it is summed over the members: ``classification_target=sum``.
    """

    identity = "loss.adp"
    version = 1

    alpha: NonNegative = 2.0
    beta: NonNegative = 0.5
    scale: Positive = 64.0
    delta: Positive = 1e-6

    def __call__(self, seen: Seen) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Figures: ``entropy``, ``log_volume``; ``raised``, whether the determinants needed more than ``delta``."""
        logits = self.scale * seen.cosines
        volumes, raised = log_volume(wrong(logits, seen.person), self.delta)
        spread, volume = entropy_of_mean(logits).mean(), volumes.mean().to(logits.dtype)
        loss = -self.alpha * spread - self.beta * volume
        return loss, {"entropy": spread, "log_volume": volume, "raised": raised}


def wrong(logits: Tensor, person: Tensor) -> Tensor:
    """(B, K, n): each member's probabilities without those of the true ``person``, at unit length.

    Of logits (B, K, n). The softmax's denominator cancels in the length, and so does the largest wrong logit.
    """
    people = torch.arange(logits.shape[2], device=logits.device)
    others = logits.masked_fill(person[:, None, None] == people, -math.inf)
    return normalize((others - others.detach().amax(dim=2, keepdim=True)).exp(), dim=2)


def entropy_of_mean(logits: Tensor) -> Tensor:
    """(B,), in nats: of the mean over the members of the softmax of logits (B, K, n)."""
    log_mean = logits.log_softmax(dim=2).logsumexp(dim=1) - math.log(logits.shape[1])
    return -(log_mean.exp() * log_mean).sum(dim=1)
