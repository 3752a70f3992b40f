"""PuFace (2024): a network that purifies a tracker's training photos of cloaks, trained on amplified cloaks.

Network and training follow what is probably the author's development code (joy8023/face). Training starts with a
warm-up on the pixel loss alone: from the identity, where the network starts, 100 steps of the feature loss made no
progress.

The method: docs/methods/puface.md.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np
import torch

from frbench.defenses.cloak_removal.amplification import Amplification
from frbench.defenses.cloak_removal.cloaked_faces import CloakedFaces, subset
from frbench.defenses.cloak_removal.puface_learner import (
    Photos,
    PurificationLoss,
    PurifierLearner,
    ValidatedPurifierLearner,
)
from frbench.defenses.cloak_removal.rednet import RedNet
from frbench.defenses.cloak_removal.restoration import RestorationDefense
from frbench.defenses.components.artifact_tensors import trained_artifact, without_prefix
from frbench.harness.core.contracts import Artifact, FitContext, Recognizer
from frbench.harness.core.domains import EvenCount, NonNegative, OpenFraction, Positive, PositiveInt
from frbench.harness.core.errors import ConfigError
from frbench.harness.training.loop import Schedule, train


@dataclass(frozen=True)
class TrainingSetup:
    """Network and data of both phases of PuFace.

    Attributes:
        cloaks: the photos and their cloaks.
        layers: convolutions and deconvolutions of the ``RedNet``, an even number.
        channels: its channels.
        amplification: amplification of the cloaks.
        validation_fraction: fraction of people held out for validation.
    """

    identity = "recipe.puface_course"
    version = 1

    cloaks: CloakedFaces
    layers: EvenCount
    channels: PositiveInt
    amplification: Amplification
    validation_fraction: OpenFraction

    def network(self) -> RedNet:
        return RedNet(self.layers, self.channels)

    def photos(self, context: FitContext, features: Recognizer | None) -> tuple[Photos, Photos]:
        """Training and validation photos."""
        made = self.cloaks.make(context)
        faces, cloaked = subset(context.faces, made.rows), made.cloaked
        training, validation = (
            Photos.of(subset(faces, rows), cloaked[torch.from_numpy(rows)], features, context.device)
            for rows in self.split(faces.identity, context.seed)
        )
        return training, validation

    def split(self, identity: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the training and the validation photos, of different people.

        Raises:
            ConfigError: one of the two sets is empty.
        """
        people = np.random.default_rng((seed, 1)).permutation(np.unique(identity))
        held_out = round(self.validation_fraction * len(people))
        if not 0 < held_out < len(people):
            raise ConfigError(
                f"validation_fraction={self.validation_fraction} of {len(people)} people holds out {held_out}, not 1 "
                f"to {len(people) - 1}; change validation_fraction or use more people"
            )
        is_validation = np.isin(identity, people[:held_out])
        return np.flatnonzero(~is_validation), np.flatnonzero(is_validation)


@dataclass(frozen=True)
class WarmUp:
    """First phase of PuFace: the pixel loss alone, without model selection.

    Attributes:
        setup: network and data.
        schedule: training schedule.
    """

    identity = "recipe.puface_warmup"
    version = 1

    setup: TrainingSetup
    schedule: Schedule

    needs_recognizer = False

    def fit(self, context: FitContext) -> Artifact:
        photos, _ = self.setup.photos(context, None)
        torch.manual_seed(context.seed)
        learner = PurifierLearner(self.setup.network(), PurificationLoss(), self.setup.amplification, photos)
        return _train(learner, self.schedule, context, "warm-up")


@dataclass(frozen=True)
class PufaceRecipe(TrainingSetup):
    """Training of PuFace's purifier.

    Attributes:
        features: recognizer of the feature loss.
        schedule: training schedule.
        warmup: schedule of the warm-up on the pixel loss, or None.
        feature_weight: weight of the mean absolute error of embeddings relative to the root mean squared error of
            pixels, for 512 dimensions; 0 disables the feature loss and ``features``.
        validation_factor: amplification of the cloaks in the validation loss, which selects the epoch.
    """

    identity = "recipe.puface"
    version = 1

    features: Recognizer | None
    schedule: Schedule
    warmup: Schedule | None = None
    feature_weight: NonNegative = 20.0
    validation_factor: Positive = 1.0

    needs_recognizer = False

    def fit(self, context: FitContext) -> Artifact:
        """Train the purifier.

        Raises:
            ConfigError: ``features`` has no gradients, or there are too few people to hold some out.
        """
        features = self.features if self.feature_weight else None
        if features is not None and not features.differentiable:
            raise ConfigError(
                f"the feature loss of PuFace needs gradients of features and {features.name} has none; use a "
                "differentiable recognizer or feature_weight=0"
            )
        training, validation = self.photos(context, features)
        torch.manual_seed(context.seed)
        network = self.network()
        if self.warmup is not None:
            shared = {each.name: getattr(self, each.name) for each in fields(TrainingSetup)}
            warm = context.part(WarmUp(TrainingSetup(**shared), self.warmup))
            network.load_state_dict(without_prefix(warm, "network"))
        parts = (network, PurificationLoss(features, self.feature_weight), self.amplification, training)
        learner = ValidatedPurifierLearner(*parts, validation=validation, factor=self.validation_factor)
        return _train(learner, self.schedule, context, "purifier")


def _train(learner: PurifierLearner, schedule: Schedule, context: FitContext, title: str) -> Artifact:
    history = train(learner, schedule, replace(context, faces=learner.photos.faces), title)
    return trained_artifact(learner.network, history)


@dataclass(frozen=True)
class PufaceDefense(RestorationDefense):
    """PuFace, fitted with recognizers of its own: one fit serves all trackers."""

    identity = "defense.puface"
    version = 1

    recipe: PufaceRecipe

    option: ClassVar[str] = "puface"
