"""Feature diversity of members under one head (Amada et al., SafeAI@AAAI 2021).

The method: docs/methods/ensembles.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from frbench.harness.core.domains import Fraction, NonNegative, Positive
from frbench.harness.training.losses.base import EnsembleOutput

Kind = Literal["logdet", "cos", "res_logdet", "res_cos"]
_GUARD = 1e-4  # added instead of ``delta`` where rounding has made a Gram matrix indefinite


@dataclass(frozen=True)
class Diversity:
    """``weight`` times the similarity of the members' embeddings of an image.

    Args:
        kind: ``logdet``, minus the log-determinant of their Gram matrix; ``cos``, their mean pairwise cosine; ``res_``,
            the same of the components orthogonal to the true class center, which gets no gradient.
        weight: Weight of the term.
        ramp: Share of the training over which the weight rises from zero.
        delta: Added to the diagonal of the Gram matrix.
    """

    identity = "loss.diversity"
    version = 1

    kind: Kind = "logdet"
    weight: NonNegative = 0.5
    ramp: Fraction = 0.1
    delta: Positive = 1e-6

    def __call__(self, output: EnsembleOutput) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The weighted loss. Metrics: ``value``, unweighted; ``raised``, whether ``delta`` was too small."""
        value, raised = _KINDS[self.kind](output, self.delta)
        risen = min(1.0, output.progress / self.ramp) if self.ramp else 1.0
        return self.weight * risen * value, {"value": value, "raised": raised}


def residuals(output: EnsembleOutput) -> Tensor:
    """(B, K, d): the components of the embeddings orthogonal to their class center, at unit length."""
    row = output.own.detach()
    rest = output.embeddings - (output.embeddings * row).sum(dim=2, keepdim=True) * row
    # The norm has no gradient at zero, so it is clamped to 1e-6 or more.
    return rest / rest.square().sum(dim=2, keepdim=True).clamp(min=1e-12).sqrt()


def pairwise_cosine(embeddings: Tensor) -> Tensor:
    """(B,): mean cosine over the pairs of K members, of unit vectors (B, K, d)."""
    count = embeddings.shape[1]
    one, other = torch.triu_indices(count, count, offset=1, device=embeddings.device)
    return (embeddings[:, one] * embeddings[:, other]).sum(dim=2).mean(dim=1)


def log_volume(vectors: Tensor, delta: float) -> tuple[Tensor, Tensor]:
    """Log-determinants of Gram matrices.

    Args:
        vectors: (B, K, n).
        delta: Added to the diagonal.

    Returns:
        log det(G + delta I) of the Gram matrices G (K, K), float64 (B,); and whether the batch needed a larger delta, 0
        or 1.
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


_KINDS: Mapping[Kind, Callable[[EnsembleOutput, float], tuple[Tensor, Tensor]]] = {
    "logdet": lambda output, delta: _unlike(output.embeddings, delta),
    "cos": lambda output, delta: _alike(output.embeddings),
    "res_logdet": lambda output, delta: _unlike(residuals(output), delta),
    "res_cos": lambda output, delta: _alike(residuals(output)),
}
