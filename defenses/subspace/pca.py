"""PCA projection: every face on the same leading eigenfaces, a baseline of PIN and AIS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from frbench.defenses.components.purifier import FittedPurifierDefense
from frbench.defenses.subspace.eigenfaces import Eigenfaces, Eigenspace
from frbench.harness.core.contracts import Draw, Fitted, Images
from frbench.harness.core.domains import Components
from frbench.harness.core.face_data import FaceSource
from frbench.harness.core.purifiers import Purifier, Sides


@dataclass(frozen=True)
class Projection:
    """Project the gray face on the eigenfaces and copy it to three channels."""

    identity = "purifier.pca"
    version = 1

    artifact: Fitted

    differentiable = True
    unclamped = True
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return Eigenspace.of(self.artifact.tensors, images.device).project(images)


@dataclass(frozen=True)
class PcaDefense(FittedPurifierDefense):
    """Projection on the ``components`` leading eigenfaces of ``faces``, of people outside the test set."""

    identity = "defense.pca"
    version = 1

    faces: FaceSource = field(compare=False)  # identified by the digest of its images, not by paths
    components: Components = 800
    apply_to: Sides = "both"
    artifact: Fitted | None = field(default=None, repr=False)

    option: ClassVar[str] = "pca"

    @property
    def recipe(self) -> Eigenfaces:
        return Eigenfaces(self.components)

    def purifier(self) -> Purifier:
        return Projection(self.ready)

    def differentiable_purifiers(self) -> Mapping[str, Purifier]:
        return {"exact": self.purifier()}
