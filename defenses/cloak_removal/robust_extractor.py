"""The tracker's own answer to cloaks: an extractor that was taught to see through them (Radiya-Dixit et al., 2022)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self

from torch import nn

from frbench.defenses.cloak_removal.robust_extractor_fit import RobustRecipe
from frbench.defenses.components.artifact_keys import under
from frbench.harness.core.contracts import Embeddings, Fitted, Images, Recognizer, Verifier
from frbench.harness.core.errors import FrbenchError, Refused
from frbench.harness.core.face_data import FaceSource
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.recognizers.inference import CPU_BATCH, CPU_LEAST, SmallBatches
from frbench.harness.recognizers.preprocessing import unit_length
from frbench.harness.recognizers.trainable import counting_as, network_of


@dataclass(frozen=True)
class Retaught:
    """A recognizer with other weights; known by the artifact that they come from."""

    identity = "recognizer.finetuned"
    version = 1

    name: str
    artifact: Fitted
    weights: nn.Module = field(compare=False, repr=False)

    differentiable = True

    @property
    def digest(self) -> str:
        return self.artifact.sha256

    def embed(self, images: Images) -> Embeddings:
        return unit_length(self._network(images.to(next(self.weights.parameters()).device)))

    def module(self) -> nn.Module:
        """A copy of its own to train further."""
        return copy.deepcopy(self.weights).requires_grad_(True)

    @cached_property
    def _network(self) -> nn.Module:
        on_cpu = next(self.weights.parameters()).device.type == "cpu"
        return SmallBatches(self.weights, CPU_BATCH, CPU_LEAST).eval() if on_cpu else self.weights

    def fingerprint(self) -> Fitted:
        return self.artifact


@dataclass(frozen=True)
class RobustExtractor:
    """``recipe`` carried out on ``faces``, people other than those of the test set, for one recognizer."""

    identity = "defense.robust_extractor"
    version = 1

    faces: FaceSource = field(compare=False)  # known by the digest of what it opens to, not by its paths
    recipe: RobustRecipe
    artifact: Fitted | None = field(default=None, repr=False)

    option: ClassVar[str] = "robust_extractor"

    def fitted(self, artifact: Fitted) -> Self:
        return replace(self, artifact=artifact)

    def retaught(self, recognizer: Recognizer) -> Recognizer:
        """``recognizer`` with what it has learned. Raises FrbenchError: not fitted."""
        if self.artifact is None:
            raise FrbenchError(f"defense={self.option} is not fitted; run: frbench fit defense={self.option}")
        weights = under(self.artifact.tensors, "network")
        network = network_of(recognizer)
        network.load_state_dict(weights)
        device = next(iter(weights.values())).device
        network = network.requires_grad_(False).to(device).eval()
        return counting_as(recognizer, Retaught(recognizer.name, self.artifact, network))

    def protect(self, verifier: Verifier) -> Verifier:
        if not isinstance(verifier, CosineVerifier):
            raise Refused("a robust extractor takes the place of a recognizer, and this verifier has none to replace")
        return CosineVerifier(self.retaught(verifier.recognizer))

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]:
        return {"exact": self.protect(verifier)}
