"""Margin losses: ArcFace (arXiv 1801.07698) and CosFace (arXiv 1801.09414).

A margin lowers the cosine with the true class center before the softmax. The sine, whose gradient is infinite
at a cosine of 1 or -1, is clamped.

The method: docs/methods/ensembles.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn.functional import cross_entropy

from frbench.harness.core.domains import Angle, CosineGap, NonNegativeInt, Positive

_LEAST = 1e-9  # smallest squared sine


class Margin(Protocol):
    """``penalized``: true-class cosines (M,) with the margin of a fractional ``epoch``. ``scale``: of the logits."""

    @property
    def scale(self) -> float: ...

    def penalized(self, own: Tensor, epoch: float) -> Tensor: ...


@dataclass(frozen=True)
class ArcFace:
    """ArcFace: cos(angle + margin); beyond the angle pi - margin, cos(angle) - margin * sin(margin), still decreasing.

    Args:
        scale: Scale of the logits.
        margin: In radians.
        margin_warmup: Margin of the first ``warmup_epochs`` epochs; None: ``margin``.
        warmup_epochs: Number of those epochs.
    """

    identity = "loss.arcface"
    version = 1

    scale: Positive = 64.0
    margin: Angle = 0.5
    margin_warmup: Angle | None = None
    warmup_epochs: NonNegativeInt = 0

    def penalized(self, own: Tensor, epoch: float) -> Tensor:
        margin = _current(self.margin, self.margin_warmup, self.warmup_epochs, epoch)
        sine = ((1 - own) * (1 + own)).clamp(min=_LEAST).sqrt()
        rotated = own * math.cos(margin) - sine * math.sin(margin)
        return rotated.where(own > math.cos(math.pi - margin), own - margin * math.sin(math.pi - margin))


@dataclass(frozen=True)
class CosFace:
    """CosFace: cos(angle) - margin. The fields are those of ``ArcFace``."""

    identity = "loss.cosface"
    version = 1

    scale: Positive = 64.0
    margin: CosineGap = 0.4
    margin_warmup: CosineGap | None = None
    warmup_epochs: NonNegativeInt = 0

    def penalized(self, own: Tensor, epoch: float) -> Tensor:
        return own - _current(self.margin, self.margin_warmup, self.warmup_epochs, epoch)


def _current(margin: float, warmup: float | None, warmup_epochs: int, epoch: float) -> float:
    return margin if warmup is None or epoch >= warmup_epochs else warmup


def margin_loss(margin: Margin, cosines: Tensor, person: Tensor, epoch: float = 0.0) -> Tensor:
    """Mean cross-entropy of cosines (M, n), float32, with class labels (M,), under ``margin``."""
    column = person[:, None]
    penalized = margin.penalized(cosines.gather(1, column), epoch)
    return cross_entropy(margin.scale * cosines.scatter(1, column, penalized), person)
