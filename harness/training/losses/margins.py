"""Margin heads: ArcFace (arXiv 1801.07698) and CosFace (1801.09414). Spec: ensemble_attacks 1.3.

The own person's cosine is made worse by a margin before the softmax. Nothing here has an infinite slope: at a cosine of
1 or -1, where the sine has one, it is held at its least value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn.functional import cross_entropy

from frbench.harness.core.domains import Angle, CosineGap, NonNegativeInt, Positive

_LEAST = 1e-9  # of the squared sine


class Margin(Protocol):
    """``worse`` of own cosines (M,) at ``epoch``, counted from 0 and in fractions. ``scale``: of the logits."""

    @property
    def scale(self) -> float: ...

    def worse(self, own: Tensor, epoch: float) -> Tensor: ...


@dataclass(frozen=True)
class ArcFace:
    """cos(angle + margin), and beyond the angle pi - margin the cosine less margin * sin(margin), so that it falls on.

    margin_warmup: the margin of the first ``warmup_epochs`` epochs; None for ``margin``.
    """

    identity = "loss.arcface"
    version = 1

    scale: Positive = 64.0
    margin: Angle = 0.5
    margin_warmup: Angle | None = None
    warmup_epochs: NonNegativeInt = 0

    def worse(self, own: Tensor, epoch: float) -> Tensor:
        margin = _current(self.margin, self.margin_warmup, self.warmup_epochs, epoch)
        sine = ((1 - own) * (1 + own)).clamp(min=_LEAST).sqrt()
        turned = own * math.cos(margin) - sine * math.sin(margin)
        return turned.where(own > math.cos(math.pi - margin), own - margin * math.sin(math.pi - margin))


@dataclass(frozen=True)
class CosFace:
    """The cosine less ``margin``. margin_warmup, warmup_epochs: as in ``ArcFace``."""

    identity = "loss.cosface"
    version = 1

    scale: Positive = 64.0
    margin: CosineGap = 0.4
    margin_warmup: CosineGap | None = None
    warmup_epochs: NonNegativeInt = 0

    def worse(self, own: Tensor, epoch: float) -> Tensor:
        return own - _current(self.margin, self.margin_warmup, self.warmup_epochs, epoch)


def _current(margin: float, warmup: float | None, warmup_epochs: int, epoch: float) -> float:
    return margin if warmup is None or epoch >= warmup_epochs else warmup


def margin_loss(margin: Margin, cosines: Tensor, person: Tensor, epoch: float = 0.0) -> Tensor:
    """Mean cross-entropy of cosines (M, n), float32, with persons (M,), under ``margin``."""
    column = person[:, None]
    worse = margin.worse(cosines.gather(1, column), epoch)
    return cross_entropy(margin.scale * cosines.scatter(1, column, worse), person)
