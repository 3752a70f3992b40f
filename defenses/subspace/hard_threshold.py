"""Hard thresholding of PCA coefficients, the optimal selection that the network of PIN approximates.

The method: docs/methods/subspace_projections.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from frbench.defenses.components.purifier import FittedPurifierDefense
from frbench.defenses.subspace.eigenfaces import Eigenfaces, Eigenspace, gray, to_rgb
from frbench.defenses.subspace.masked_projection import Direct, Gate, StraightThroughMask
from frbench.harness.core.contracts import Draw, Fitted, Images
from frbench.harness.core.domains import Components, NonNegative, Positive
from frbench.harness.core.face_data import FaceSource
from frbench.harness.core.purifiers import Purifier, Sides


@dataclass(frozen=True)
class ThresholdedProjection:
    """Project the gray face on the eigenfaces with a squared coefficient above ``sparsity * pixels``, unclipped.

    This mask minimises ``mean squared error + sparsity * kept eigenfaces`` on a clean face in [-1, 1].

    Attributes:
        gate: how the mask multiplies the coefficients, forward and backward.
        temperature: width, in units of the threshold, of the sigmoid whose gradient ``gate`` may use.
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
        return to_rgb(space.faces(self.gate(coefficients, keep, mask)), images)


@dataclass(frozen=True)
class ThresholdDefense(FittedPurifierDefense):
    """Hard thresholding on the eigenfaces of ``faces``.

    Attributes:
        faces: faces of people outside the test set.
        components: number of eigenfaces to select from.
        sparsity: cost of a kept eigenface relative to the mean squared error, lambda of PIN.
        temperature: width of the sigmoid of the relaxation ``soft``, in units of the threshold.
    """

    identity = "defense.hard_threshold"
    version = 1

    faces: FaceSource = field(compare=False)  # identified by the digest of its images, not by paths
    components: Components = 1500
    sparsity: NonNegative = 3e-6
    temperature: Positive = 0.5
    apply_to: Sides = "both"
    artifact: Fitted | None = field(default=None, repr=False)

    option: ClassVar[str] = "threshold"

    @property
    def recipe(self) -> Eigenfaces:
        return Eigenfaces(self.components)

    def purifier(self) -> ThresholdedProjection:
        return ThresholdedProjection(self.ready, self.sparsity, Direct(), self.temperature)

    def differentiable_purifiers(self) -> Mapping[str, Purifier]:
        hard = self.purifier()
        return {"direct": hard, "soft": replace(hard, gate=StraightThroughMask())}
