"""Hard thresholding of PCA coefficients: the choice that PIN's network learns to imitate (specs/pin_ais 3.2, 11.9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from frbench.defenses.components.purifier import FittedPurifierDefense
from frbench.defenses.subspace.eigenfaces import Eigenfaces, Eigenspace, colour, gray
from frbench.defenses.subspace.masked_projection import Direct, Gate, ThroughMask
from frbench.harness.core.contracts import Draw, Fitted, Images
from frbench.harness.core.domains import Components, NonNegative, Positive
from frbench.harness.core.face_data import FaceSource
from frbench.harness.core.verifiers import Purifier, Sides


@dataclass(frozen=True)
class Thresholded:
    """Gray, projected on the eigenfaces whose coefficient squared exceeds ``sparsity * pixels``, in all
    three channels; not clipped.

    Of all masks this one has the least ``mean squared error + sparsity * eigenfaces kept`` on a clean face, both in
    [-1, 1]. temperature: width of the sigmoid that a gate may show backward, in units of the threshold.
    """

    identity = "purifier.hard_threshold"
    version = 1

    artifact: Fitted
    sparsity: float
    gate: Gate
    temperature: float

    differentiable = True
    unclamped = True
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        space = Eigenspace.of(self.artifact.tensors, images.device)
        coefficients = space.coefficients(gray(images))
        ratio = coefficients.square() / max(self.sparsity * len(space.mean), 1e-12)
        keep = torch.sigmoid((ratio - 1) / self.temperature)
        mask = (ratio > 1).to(keep.dtype)
        return colour(space.faces(self.gate(coefficients, keep, mask)), images)


@dataclass(frozen=True)
class ThresholdDefense(FittedPurifierDefense):
    """``components`` eigenfaces of ``faces`` to choose from; ``sparsity`` is PIN's lambda beside the mean square."""

    identity = "defense.hard_threshold"
    version = 1

    faces: FaceSource = field(compare=False)  # known by the digest of what it opens to, not by its paths
    components: Components = 800
    sparsity: NonNegative = 1e-5
    temperature: Positive = 0.5
    purify: Sides = "both"
    artifact: Fitted | None = field(default=None, repr=False)

    option: ClassVar[str] = "threshold"

    @property
    def recipe(self) -> Eigenfaces:
        return Eigenfaces(self.components)

    def purifier(self) -> Thresholded:
        return Thresholded(self.ready, self.sparsity, Direct(), self.temperature)

    def stand_ins(self) -> Mapping[str, Purifier]:
        hard = self.purifier()
        return {"direct": hard, "soft": replace(hard, gate=ThroughMask())}
