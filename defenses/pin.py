"""PIN, Perturbation Inactivation (Ren et al., IEEE TIFS 2022): a face projected on the eigenfaces that a network keeps.

The paper's body was not at hand: method and constants are those of the authors' code (specs/pin_ais 3), and where the
published sparsity contradicts the published behaviour the default is what works (``defense=pin_paper`` is literal).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from frbench.defenses.eigenspace import Eigenspace
from frbench.defenses.pin_training import PinRecipe, parts_of
from frbench.defenses.purification import PurifierDefense
from frbench.defenses.selected import Masking, Selected, relaxed
from frbench.harness.contracts import Fitted
from frbench.harness.errors import FrbenchError
from frbench.harness.faces import FaceSource
from frbench.harness.verifiers import Purifier, Sides


@dataclass(frozen=True)
class PinDefense(PurifierDefense):
    """``recipe`` fitted on ``faces``, people other than those of the test set; ``mask`` as ``Selected`` has it."""

    faces: FaceSource = field(compare=False)  # known by the digest of what it opens to, not by its paths
    recipe: PinRecipe
    mask: Masking = "bernoulli"
    purify: Sides = "both"
    artifact: Fitted | None = field(default=None, repr=False)

    def fitted(self, artifact: Fitted) -> PinDefense:
        return replace(self, artifact=artifact)

    def purifier(self) -> Selected:
        if self.artifact is None:
            raise FrbenchError("defense=pin is not fitted; run: frbench fit defense=pin")
        tensors = self.artifact.tensors
        network = self.recipe.network().requires_grad_(False)
        network.load_state_dict(parts_of(tensors, "network"))
        device = tensors["mean"].device
        return Selected(self.artifact, network.to(device).eval(), Eigenspace.of(tensors, device), self.mask)

    def stand_ins(self) -> Mapping[str, Purifier]:
        return relaxed(self.purifier())
