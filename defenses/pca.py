"""Fixed PCA projection: every face onto the same leading eigenfaces (specs/pin_ais 11.9, a control of PIN and AIS)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from frbench.defenses.eigenspace import Eigenfaces, Eigenspace
from frbench.defenses.purification import PurifierDefense
from frbench.harness.contracts import Draw, Fitted, Images
from frbench.harness.errors import FrbenchError
from frbench.harness.faces import FaceSource
from frbench.harness.verifiers import Purifier, Sides


@dataclass(frozen=True)
class Projection:
    """Gray, projected, copied to three channels."""

    artifact: Fitted

    differentiable = True
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return Eigenspace.of(self.artifact.tensors, images.device).project(images)


@dataclass(frozen=True)
class PcaDefense(PurifierDefense):
    """``components`` eigenfaces of ``faces``, people other than those of the test set."""

    faces: FaceSource = field(compare=False)  # known by the digest of what it opens to, not by its paths
    components: int = 800
    purify: Sides = "both"
    artifact: Fitted | None = field(default=None, repr=False)

    @property
    def recipe(self) -> Eigenfaces:
        return Eigenfaces(self.components)

    def fitted(self, artifact: Fitted) -> PcaDefense:
        return replace(self, artifact=artifact)

    def purifier(self) -> Purifier:
        if self.artifact is None:
            raise FrbenchError("defense=pca is not fitted; run: frbench fit defense=pca")
        return Projection(self.artifact)

    def stand_ins(self) -> Mapping[str, Purifier]:
        return {"exact": self.purifier()}
