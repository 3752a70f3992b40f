"""An L-inf budget that does not know the range of images, as training on attacked faces may have it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from frbench.harness.core.contracts import Ball, Images
from frbench.harness.threat_model.budgets import Linf, LinfBall, column


@dataclass(frozen=True)
class Unclamped(Linf):
    """Values may fall below 0 and rise above 1, by ``radius`` at most."""

    def project(self, adversarial: Images, clean: Images) -> Images:
        radius = column(self.radius, clean)
        return torch.minimum(torch.maximum(adversarial, clean - radius), clean + radius)

    def around(self, clean: Images) -> Ball:
        radius = column(self.radius, clean)
        return LinfBall(clean, clean - radius, clean + radius, radius)
