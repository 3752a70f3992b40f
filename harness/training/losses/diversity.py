"""Diversity of features in the coordinates of one head (Amada et al., SafeAI@AAAI 2021). Spec: ensemble_attacks 2.3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from frbench.harness.core.domains import Fraction, NonNegative, Positive
from frbench.harness.training.losses.base import Seen

Kind = Literal["logdet", "cos", "res_logdet", "res_cos"]
_GUARD = 1e-4  # added instead of ``delta`` where rounding has made a Gram matrix indefinite


@dataclass(frozen=True)
class Diversity:
    """weight times how alike the members of an image are, by ``kind``.

    logdet: minus the log-determinant of their Gram matrix, which has ``delta`` added to its diagonal. cos: the mean
    pairwise cosine. res_: of what the row of the person does not explain of them. The row itself does not learn of it.
    ramp: the share of the training in which the weight rises from zero.
    """

    identity = "loss.diversity"
    version = 1

    kind: Kind = "logdet"
    weight: NonNegative = 0.5
    ramp: Fraction = 0.1
    delta: Positive = 1e-6

    def __call__(self, seen: Seen) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Figures: ``value``, unweighted; ``raised``, whether the determinants needed more than ``delta``."""
        value, raised = _KINDS[self.kind](seen, self.delta)
        risen = min(1.0, seen.progress / self.ramp) if self.ramp else 1.0
        return self.weight * risen * value, {"value": value, "raised": raised}


def residuals(seen: Seen) -> Tensor:
    """(B, K, d) unit vectors: what is left of ``units`` without the direction of their person's row."""
    row = seen.own.detach()
    rest = seen.units - (seen.units * row).sum(dim=2, keepdim=True) * row
    # The norm itself has no slope at zero; held at 1e-6, which is also the least that a residual is divided by.
    return rest / rest.square().sum(dim=2, keepdim=True).clamp(min=1e-12).sqrt()


def pairwise_cosine(units: Tensor) -> Tensor:
    """(B,): mean over the pairs of K members; (B, K, d) unit vectors."""
    count = units.shape[1]
    one, other = torch.triu_indices(count, count, offset=1, device=units.device)
    return (units[:, one] * units[:, other]).sum(dim=2).mean(dim=1)


def log_volume(vectors: Tensor, delta: float) -> tuple[Tensor, Tensor]:
    """log det(G + delta I) of the Gram matrices G (K, K) of ``vectors`` (B, K, n): (B,), in float64, and whether a
    batch needed a greater delta, as 0 or 1.
    """
    exact = vectors.to(torch.float32 if vectors.device.type == "mps" else torch.float64)
    gram = exact @ exact.transpose(1, 2)
    unit = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    raised = torch.linalg.cholesky_ex(gram.detach() + delta * unit).info.ne(0).any().to(gram.dtype)
    factor = torch.linalg.cholesky_ex(gram + (delta + raised * (_GUARD - delta)) * unit).L
    return 2 * factor.diagonal(dim1=1, dim2=2).log().sum(dim=1), raised


def _unlike(vectors: Tensor, delta: float) -> tuple[Tensor, Tensor]:
    volume, raised = log_volume(vectors, delta)
    return -volume.mean().to(vectors.dtype), raised


def _alike(vectors: Tensor) -> tuple[Tensor, Tensor]:
    return pairwise_cosine(vectors).mean(), vectors.new_zeros(())


_KINDS: Mapping[Kind, Callable[[Seen, float], tuple[Tensor, Tensor]]] = {
    "logdet": lambda seen, delta: _unlike(seen.units, delta),
    "cos": lambda seen, delta: _alike(seen.units),
    "res_logdet": lambda seen, delta: _unlike(residuals(seen), delta),
    "res_cos": lambda seen, delta: _alike(residuals(seen)),
}
