"""Gray faces and nothing else: the fair baseline of purifiers that work on gray faces (specs/pin_ais 2.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from frbench.defenses.components.purifier import PurifierDefense
from frbench.defenses.subspace.eigenfaces import colour, gray
from frbench.harness.core.contracts import Draw, Images
from frbench.harness.core.verifiers import Purifier, Sides


@dataclass(frozen=True)
class Gray:
    """Luma in all three channels."""

    identity = "purifier.gray"
    version = 1

    differentiable = True
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return colour(gray(images), images)


@dataclass(frozen=True)
class GrayDefense(PurifierDefense):
    """What remains of PIN, AIS and their controls where nothing is projected away."""

    identity = "defense.gray"
    version = 1

    purify: Sides = "both"

    def purifier(self) -> Purifier:
        return Gray()

    def stand_ins(self) -> Mapping[str, Purifier]:
        return {"exact": self.purifier()}
