"""The recipe that trains one recognizer, or several together with diversity terms.

Members run one after the other on the same augmented batch, under one optimizer. Embeddings, heads and losses are in
float32 whatever the precision of the networks.

The method: docs/methods/ensembles.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from frbench.harness.core.contracts import Artifact, FitContext, Recognizer
from frbench.harness.core.domains import PositiveInt
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import Images, PairSource
from frbench.harness.core.fingerprints import hyperparameters
from frbench.harness.recognizers.architecture_metadata import architecture_config
from frbench.harness.recognizers.initialization import Architecture, architecture_of, reinitialize_last_layer
from frbench.harness.recognizers.trainable import network_of
from frbench.harness.training.loop import Schedule
from frbench.harness.training.losses.base import EnsembleOutput, Term
from frbench.harness.training.losses.classification import CLASSIFICATIONS, Classify
from frbench.harness.training.losses.diversity import pairwise_cosine
from frbench.harness.training.losses.diversity_metrics import tilt
from frbench.harness.training.losses.margins import Margin
from frbench.harness.training.pair_validation import Validation
from frbench.harness.training.recognizer_learner import RecognizerLearner, TrainingOptions, check_batch, member_seed


@dataclass(frozen=True)
class EnsembleRecipe:
    """Trains ``members`` networks together to classify the people of the faces.

    Args:
        margin: Margin of the classification loss.
        schedule: Optimizer, learning rate and stopping.
        network: Architecture of the members, each initialized from its own seed; None: copies of the recognizer's
            network, each with a reinitialized last layer, since equal copies would stay equal.
        members: Number of networks.
        shared_head: One classification head for all members, or one each.
        classification_target: Embeddings that the classification loss is taken on; ``mean`` and ``both`` need a shared
            head.
        terms: Further losses of several members, by the name under which they are logged.
        flip: Mirror each face with probability 1/2.
        validation: Pair sets whose accuracy is logged every ``val_every_n_epochs`` epochs; it decides nothing.

    The artifact has ``members.K.NAME``, the weights of each network without its preprocessing; ``heads.J`` (n, d);
    ``history/NAME`` by epoch; and ``diagnosis/NAME``.
    """

    identity = "recipe.ensemble"
    version = 1

    margin: Margin
    schedule: Schedule
    network: Architecture | None = None
    members: PositiveInt = 1
    shared_head: bool = True
    classification_target: Classify = "member"
    terms: Mapping[str, Term] = field(default_factory=dict)
    flip: bool = True
    validation: Mapping[str, PairSource] = field(default_factory=dict, compare=False)
    val_every_n_epochs: PositiveInt = field(default=1, compare=False)

    def check_combination(self, where: str) -> None:
        check_batch(self.schedule, where)
        if self.members > 1 and not self.shared_head and self.classification_target in ("mean", "both"):
            raise ConfigError(
                f"{where}.classification_target={self.classification_target} needs a shared head; set shared_head=true "
                "or classification_target=member"
            )
        if self.members == 1 and self.terms:
            raise ConfigError(f"{where}.terms={', '.join(self.terms)}: diversity needs several members; set members=3")

    @property
    def needs_recognizer(self) -> bool:
        return self.network is None

    def metadata(self, recognizer: Recognizer | None) -> dict[str, Any]:
        """What ``recognizer=trained`` and ``defense=trained_ensemble`` read in the file, and the recipe."""
        architecture = self.network or architecture_of(recognizer)
        return {
            "architecture": architecture and architecture_config(architecture),
            "shared_head": self.shared_head,
            "recipe": hyperparameters(self),
        }

    def initial_network(self, context: FitContext, member: int) -> nn.Module:
        """The network of ``member`` before training. Raises ConfigError: there is none."""
        seed = member_seed(context.seed, member)
        if self.network is not None:
            return self.network.module(seed)
        if context.recognizer is None:
            raise ConfigError("there is no network to train; choose one, or a recognizer that gives embeddings")
        module = network_of(context.recognizer)
        reinitialize_last_layer(module, seed)
        return module

    def options(self, context: FitContext) -> TrainingOptions:
        return TrainingOptions(
            self.schedule, self.flip, Validation(self.validation, context.cache), self.val_every_n_epochs
        )

    def fit(self, context: FitContext) -> Artifact:
        """Raises FrbenchError: there is no network to train, or faces have no class labels (see ``class_labels``)."""
        members = [self.initial_network(context, member) for member in range(self.members)]
        return _Ensemble(members, self, context).fit(context, "recognizer" if self.members == 1 else "ensemble")


class _Ensemble(RecognizerLearner):
    """A ``Learner`` of ``recipe``."""

    def __init__(self, members: list[nn.Module], recipe: EnsembleRecipe, context: FitContext) -> None:
        super().__init__(members, recipe.options(context), context, recipe.shared_head)
        self.recipe = recipe

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        embeddings = self.embed(self.random_flip(images, generator))
        with torch.autocast(images.device.type, enabled=False):
            return self._ensemble_loss(
                EnsembleOutput(embeddings, self.class_centers(), self.person[rows], self.progress)
            )

    def _ensemble_loss(self, output: EnsembleOutput) -> tuple[Tensor, dict[str, Tensor]]:
        classify = CLASSIFICATIONS[self.recipe.classification_target]
        loss, right = classify(output, self.recipe.margin, self.epoch)
        figures = {"classification": loss, "accuracy": right}
        for name, term in self.recipe.terms.items():
            cost, details = term(output)
            loss = loss + cost
            figures |= {f"{name}_{detail}": each for detail, each in details.items()}
        with torch.no_grad():
            figures["tilt"] = tilt(output).mean()
            if output.embeddings.shape[1] > 1:
                figures["cosine"] = pairwise_cosine(output.embeddings).mean()
        return loss, figures
