"""Base of PuFace and the autoencoder: a fitted image-to-image network as a purifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, cast

from torch import Tensor, nn

from frbench.defenses.components.artifact_tensors import load_network
from frbench.defenses.components.purifier import FittedPurifierDefense, StraightThrough
from frbench.harness.core.contracts import Draw, Fitted, Images, Recipe
from frbench.harness.core.face_data import FaceSource
from frbench.harness.core.purifiers import Purifier, Sides
from frbench.harness.recognizers.inference import CPU_BATCH, CPU_LEAST, SmallBatches


@dataclass(frozen=True)
class Restoration:
    """Apply a fitted ``network`` and clip its output to [0, 1]."""

    identity = "purifier.restoration"
    version = 1

    artifact: Fitted
    network: nn.Module = field(compare=False, repr=False)

    differentiable = True
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return cast(Tensor, self.network(images)).clamp(0, 1)


class RestorationRecipe(Recipe, Protocol):
    """A recipe whose artifact holds the weights of ``network()``, from images to images, under ``network/``."""

    def network(self) -> nn.Module: ...


@dataclass(frozen=True)
class RestorationDefense(FittedPurifierDefense):
    """A purifier fitted by ``recipe`` on ``faces``, of people outside the test set; one fit serves all recognizers."""

    faces: FaceSource = field(compare=False)  # identified by the digest of its images, not by paths
    recipe: RestorationRecipe
    apply_to: Sides = "probe"
    artifact: Fitted | None = field(default=None, repr=False)

    option: ClassVar[str]

    def purifier(self) -> Restoration:
        """The purifier; raises FrbenchError if the defense is not fitted."""
        network = load_network(self.recipe.network(), self.ready.tensors)
        on_cpu = next(network.parameters()).device.type == "cpu"
        return Restoration(self.ready, SmallBatches(network, CPU_BATCH, CPU_LEAST) if on_cpu else network)

    def differentiable_purifiers(self) -> Mapping[str, Purifier]:
        return {"exact": self.purifier(), "identity": StraightThrough(self.purifier())}
