"""Adaptive diversity promoting (Pang et al., ICML 2019, section 3), in a form that is stable for many classes.

The members' probabilities of the wrong classes should span a large volume, and their mean should have a high entropy.

The method: docs/methods/ensembles.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from frbench.harness.core.domains import NonNegative, Positive
from frbench.harness.training.losses.base import EnsembleOutput
from frbench.harness.training.losses.diversity import log_volume


@dataclass(frozen=True)
class Adp:
    """The ADP regularizer, of logits without margin; it needs fewer members than people.

    As in the paper, use it with ``classification_target=sum``.

    Args:
        alpha: Weight of the entropy of the mean prediction, which is maximized.
        beta: Weight of the log volume of the predictions of wrong classes, which is maximized.
        scale: Logits are ``scale`` times the cosines.
        delta: Added to the diagonal of the Gram matrix.
    """

    identity = "loss.adp"
    version = 1

    alpha: NonNegative = 2.0
    beta: NonNegative = 0.5
    scale: Positive = 64.0
    delta: Positive = 1e-6

    def __call__(self, output: EnsembleOutput) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss. Metrics: ``entropy``, ``log_volume``; ``raised``, whether ``delta`` was too small."""
        logits = self.scale * output.cosines
        volumes, raised = log_volume(wrong(logits, output.person), self.delta)
        spread, volume = entropy_of_mean(logits).mean(), volumes.mean().to(logits.dtype)
        loss = -self.alpha * spread - self.beta * volume
        return loss, {"entropy": spread, "log_volume": volume, "raised": raised}


def wrong(logits: Tensor, person: Tensor) -> Tensor:
    """(B, K, n): each member's probabilities of the wrong classes, at unit length, from logits (B, K, n).

    Normalization cancels the softmax's denominator and the largest wrong logit.
    """
    people = torch.arange(logits.shape[2], device=logits.device)
    others = logits.masked_fill(person[:, None, None] == people, -math.inf)
    return normalize((others - others.detach().amax(dim=2, keepdim=True)).exp(), dim=2)


def entropy_of_mean(logits: Tensor) -> Tensor:
    """(B,): entropy in nats of the members' mean softmax of logits (B, K, n)."""
    log_mean = logits.log_softmax(dim=2).logsumexp(dim=1) - math.log(logits.shape[1])
    return -(log_mean.exp() * log_mean).sum(dim=1)
