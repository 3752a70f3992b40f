"""Grayscale conversion, the baseline of purifiers that work on gray faces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from frbench.defenses.components.purifier import PurifierDefense
from frbench.defenses.subspace.eigenfaces import gray, to_rgb
from frbench.harness.core.contracts import Draw, Images
from frbench.harness.core.purifiers import Purifier, Sides


@dataclass(frozen=True)
class Gray:
    """Copy the luma to all three channels."""

    identity = "purifier.gray"
    version = 1

    differentiable = True
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return to_rgb(gray(images), images)


@dataclass(frozen=True)
class GrayDefense(PurifierDefense):
    """Grayscale conversion: PIN, AIS and their baselines without a projection."""

    identity = "defense.gray"
    version = 1

    apply_to: Sides = "both"

    def purifier(self) -> Purifier:
        return Gray()

    def differentiable_purifiers(self) -> Mapping[str, Purifier]:
        return {"exact": self.purifier()}
