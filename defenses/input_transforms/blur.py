"""Gaussian blur, which is differentiable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from frbench.defenses.components.gaussian import gaussian_blur
from frbench.defenses.components.purifier import PurifierDefense
from frbench.harness.core.contracts import Draw, Images
from frbench.harness.core.domains import BlurSigma
from frbench.harness.core.purifiers import Purifier, Sides


@dataclass(frozen=True)
class Blur:
    """Gaussian blur of standard deviation ``sigma`` in pixels."""

    identity = "purifier.blur"
    version = 1

    sigma: float

    differentiable = True
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return gaussian_blur(images, self.sigma)


@dataclass(frozen=True)
class BlurDefense(PurifierDefense):
    """Gaussian blur; ``sigma`` is in pixels of the 112x112 crop."""

    identity = "defense.blur"
    version = 1

    sigma: BlurSigma = 1.0
    apply_to: Sides = "both"

    def purifier(self) -> Purifier:
        return Blur(self.sigma)

    def differentiable_purifiers(self) -> Mapping[str, Purifier]:
        return {"exact": Blur(self.sigma)}
