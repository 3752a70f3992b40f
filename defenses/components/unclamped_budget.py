"""An L-inf budget that is not clipped to [0, 1], for adversarial training as the authors of AIS implement it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from frbench.harness.core.contracts import Ball, Images
from frbench.harness.threat_model.budgets import Linf, LinfBall, column


@dataclass(frozen=True)
class Unclamped(Linf):
    """Pixel values may lie below 0 or above 1, by ``radius`` at most."""

    identity = "budget.linf_unclamped"
    version = 1

    def project(self, adversarial: Images, clean: Images) -> Images:
        radius = column(self.radius, clean)
        return torch.minimum(torch.maximum(adversarial, clean - radius), clean + radius)

    def around(self, clean: Images) -> Ball:
        radius = column(self.radius, clean)
        return LinfBall(clean, clean - radius, clean + radius, radius)
