"""What PuFace and its plain rival share: a fitted network that takes an image and gives a better one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast

from torch import Tensor, nn

from frbench.defenses.components.artifact_keys import under
from frbench.defenses.components.purifier import FittedPurifierDefense, StraightThrough
from frbench.harness.core.contracts import Draw, Fitted, Images, Recipe
from frbench.harness.core.face_data import FaceSource
from frbench.harness.core.verifiers import Purifier, Sides
from frbench.harness.recognizers.inference import CPU_BATCH, CPU_LEAST, SmallBatches


@dataclass(frozen=True)
class Restored:
    """What a fitted ``network`` makes of an image, clipped to [0, 1]."""

    identity = "purifier.restoration"
    version = 1

    artifact: Fitted
    network: nn.Module = field(compare=False, repr=False)

    differentiable = True
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return cast(Tensor, self.network(images)).clamp(0, 1)


class RestorationRecipe(Recipe, Protocol):
    """A recipe whose artifact holds under ``network/`` the weights of ``network()``, images in and images out."""

    def network(self) -> nn.Module: ...


@dataclass(frozen=True)
class RestorationDefense(FittedPurifierDefense):
    """``recipe`` fitted on ``faces``, people other than those of the test set. One serves all recognizers."""

    faces: FaceSource = field(compare=False)  # known by the digest of what it opens to, not by its paths
    recipe: RestorationRecipe
    purify: Sides = "probe"
    artifact: Fitted | None = field(default=None, repr=False)

    def purifier(self) -> Restored:
        """Raises FrbenchError: not fitted."""
        weights = under(self.ready.tensors, "network")
        network = self.recipe.network()
        network.load_state_dict(weights)
        device = next(iter(weights.values())).device
        network = network.requires_grad_(False).to(device).eval()
        return Restored(self.ready, SmallBatches(network, CPU_BATCH, CPU_LEAST) if device.type == "cpu" else network)

    def stand_ins(self) -> Mapping[str, Purifier]:
        return {"exact": self.purifier(), "identity": StraightThrough(self.purifier())}
