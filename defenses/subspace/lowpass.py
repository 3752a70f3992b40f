"""Gaussian low-pass of the energy of an eigenface projection: is a learned subspace more than a blur? (pin_ais 11.9)"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from frbench.defenses.components.purifier import FittedPurifierDefense
from frbench.defenses.subspace.eigenfaces import colour, gray
from frbench.defenses.subspace.lowpass_fit import EqualEnergy, low_passed
from frbench.harness.core.contracts import Draw, Fitted, Images
from frbench.harness.core.domains import Components
from frbench.harness.core.face_data import FaceSource
from frbench.harness.core.verifiers import Purifier, Sides


@dataclass(frozen=True)
class LowPass:
    """Gray, blurred by the fitted ``sigma``, copied to three channels; not clipped."""

    identity = "purifier.lowpass"
    version = 1

    artifact: Fitted
    sigma: float

    differentiable = True
    unclamped = True
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        faces = gray(images).reshape(-1, 1, *images.shape[2:])
        return colour(low_passed(faces, self.sigma).flatten(1), images)


@dataclass(frozen=True)
class LowPassDefense(FittedPurifierDefense):
    """Leaves out of ``faces`` as much energy as the projection on ``components`` of their eigenfaces does."""

    identity = "defense.lowpass"
    version = 1

    faces: FaceSource = field(compare=False)  # known by the digest of what it opens to, not by its paths
    components: Components = 400
    purify: Sides = "both"
    artifact: Fitted | None = field(default=None, repr=False)

    option: ClassVar[str] = "lowpass"

    @property
    def recipe(self) -> EqualEnergy:
        return EqualEnergy(self.components)

    def purifier(self) -> LowPass:
        return LowPass(self.ready, float(self.ready.tensors["sigma"]))

    def stand_ins(self) -> Mapping[str, Purifier]:
        return {"exact": self.purifier()}
