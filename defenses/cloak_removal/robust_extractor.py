"""A recognizer fine-tuned on cloaked photos, the adaptive tracker of Radiya-Dixit et al. (ICLR 2022).

The cloaking tool is public, so the tracker cloaks photos of other people and fine-tunes its extractor to classify them
with and without cloaks.

The method: docs/methods/puface.md.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import skip_init

from frbench.defenses.cloak_removal.cloaked_faces import CloakedFaces, subset
from frbench.defenses.components.artifact_tensors import load_network, trained_artifact
from frbench.defenses.components.fitted import FittedDefense
from frbench.harness.core.contracts import Artifact, Embeddings, FitContext, Fitted, Images, Recognizer, Verifier
from frbench.harness.core.domains import Fraction
from frbench.harness.core.errors import ConfigError, Refused
from frbench.harness.core.face_data import FaceSource
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.recognizers.inference import CPU_BATCH, CPU_LEAST, SmallBatches
from frbench.harness.recognizers.preprocessing import unit_length
from frbench.harness.recognizers.trainable import counting_as, network_of
from frbench.harness.training.loop import Schedule, train


class _ClassificationLearner(nn.Module):
    """``Learner`` of the extractor with a softmax head over people, which is discarded after training."""

    def __init__(
        self, network: nn.Module, dim: int, identity: np.ndarray, cloaked: Tensor, cloaked_fraction: float
    ) -> None:
        super().__init__()
        labels = np.unique(identity, return_inverse=True)[1].reshape(-1)
        self.network, self.head = network.requires_grad_(True), skip_init(nn.Linear, dim, int(labels.max()) + 1)
        self.labels = nn.Buffer(torch.from_numpy(labels), persistent=False)
        self.cloaked, self.cloaked_fraction, self.scale = cloaked, cloaked_fraction, dim**0.5
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def train(self, mode: bool = True) -> _ClassificationLearner:
        """Keep normalisation layers at the recognizer's statistics."""
        super().train(mode)
        self.network.eval()
        return self

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        use_cloak, flip = torch.rand(2, len(rows), 1, 1, 1, generator=generator, device=rows.device)
        cloaked = self.cloaked[rows.cpu()].to(images.device).permute(0, 3, 1, 2).to(images.dtype) / 255
        inputs = torch.where(use_cloak < self.cloaked_fraction, cloaked, images)
        inputs = torch.where(flip < 0.5, inputs.flip(3), inputs)
        logits = self.head(self.scale * unit_length(self.network(inputs)))
        correct = (logits.argmax(dim=1) == self.labels[rows]).float().mean()
        return cross_entropy(logits, self.labels[rows]), {"accuracy": correct}

    def after_step(self, steps: int) -> None:
        pass


@dataclass(frozen=True)
class RobustRecipe:
    """Fine-tuning of the recognizer's network on clean and cloaked photos of public people.

    Photos are sampled uniformly, where the authors sample a person first: use people with similar numbers of photos.

    Attributes:
        cloaks: the photos and their cloaks.
        schedule: training schedule.
        cloaked_fraction: probability that a photo is cloaked.
    """

    identity = "recipe.robust_extractor"
    version = 1

    cloaks: CloakedFaces
    schedule: Schedule
    cloaked_fraction: Fraction = 0.5

    needs_recognizer = True

    def fit(self, context: FitContext) -> Artifact:
        """Fine-tune the network.

        Raises:
            ConfigError: there is no recognizer with embeddings.
            Refused: the recognizer has no trainable network.
        """
        if context.recognizer is None:
            raise ConfigError("robust_extractor fine-tunes the recognizer; use a recognizer that computes embeddings")
        network = network_of(context.recognizer)
        made = self.cloaks.make(context)
        faces = subset(context.faces, made.rows)
        with torch.no_grad():
            dim = context.recognizer.embed(faces.load(np.arange(1), context.device)).shape[1]
        learner = _ClassificationLearner(network, dim, faces.identity, made.cloaked, self.cloaked_fraction)
        history = train(learner, self.schedule, replace(context, faces=faces), "extractor")
        return trained_artifact(learner.network, history)


@dataclass(frozen=True)
class FineTunedRecognizer:
    """A recognizer with fine-tuned weights, identified by the artifact that holds them."""

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
        """A trainable copy of the network."""
        return copy.deepcopy(self.weights).requires_grad_(True)

    @cached_property
    def _network(self) -> nn.Module:
        on_cpu = next(self.weights.parameters()).device.type == "cpu"
        return SmallBatches(self.weights, CPU_BATCH, CPU_LEAST).eval() if on_cpu else self.weights

    def fingerprint(self) -> Fitted:
        return self.artifact


@dataclass(frozen=True)
class RobustExtractor(FittedDefense):
    """The recognizer fine-tuned by ``recipe`` on ``faces``, of people outside the test set."""

    identity = "defense.robust_extractor"
    version = 1

    faces: FaceSource = field(compare=False)  # identified by the digest of its images, not by paths
    recipe: RobustRecipe
    artifact: Fitted | None = field(default=None, repr=False)

    option: ClassVar[str] = "robust_extractor"

    def replace_recognizer(self, recognizer: Recognizer) -> Recognizer:
        """``recognizer`` with the fine-tuned weights; raises ConfigError if the defense is not fitted."""
        artifact = self.ready
        network = load_network(network_of(recognizer), artifact.tensors)
        return counting_as(recognizer, FineTunedRecognizer(recognizer.name, artifact, network))

    def protect(self, verifier: Verifier) -> Verifier:
        if not isinstance(verifier, CosineVerifier):
            raise Refused(
                "robust_extractor replaces a recognizer that computes embeddings, and this one only compares images; "
                "use a recognizer with embeddings"
            )
        return CosineVerifier(self.replace_recognizer(verifier.recognizer))

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]:
        return {"exact": self.protect(verifier)}
