"""Gaussian blur: differentiable as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from frbench.defenses.components.purifier import PurifierDefense
from frbench.harness.core.contracts import Draw, Images
from frbench.harness.core.domains import BlurSigma
from frbench.harness.core.verifiers import Purifier, Sides


@dataclass(frozen=True)
class Blur:
    """Separable Gaussian (kornia), reflected at the border; the window holds three deviations."""

    identity = "purifier.blur"
    version = 1

    sigma: float

    differentiable = True
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        from kornia.filters import gaussian_blur2d

        window = 2 * int(3 * self.sigma + 0.5) + 1
        return gaussian_blur2d(images, (window, window), (self.sigma, self.sigma))


@dataclass(frozen=True)
class BlurDefense(PurifierDefense):
    """``sigma`` in pixels of the 112x112 crop."""

    identity = "defense.blur"
    version = 1

    sigma: BlurSigma = 1.0
    purify: Sides = "both"

    def purifier(self) -> Purifier:
        return Blur(self.sigma)

    def stand_ins(self) -> Mapping[str, Purifier]:
        return {"exact": Blur(self.sigma)}
