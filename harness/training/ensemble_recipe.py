"""How recognizers are trained: one alone, or several together that are to differ. Spec: ensemble_attacks 1 to 3.

Members run one after the other on the same mirrored batch, under one optimiser. Embeddings, heads and losses are in
float32 whatever the precision of the networks.
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
from frbench.harness.recognizers.initialization import Untrained, architecture_of, redraw_end
from frbench.harness.recognizers.trainable import network_of
from frbench.harness.training.loop import Schedule
from frbench.harness.training.losses.base import Seen, Term
from frbench.harness.training.losses.classification import CLASSIFICATIONS, Classify
from frbench.harness.training.losses.diversity import pairwise_cosine
from frbench.harness.training.losses.diversity_metrics import tilt
from frbench.harness.training.losses.margins import Margin
from frbench.harness.training.pair_validation import Validation
from frbench.harness.training.recognizer_learner import Lesson, Students, check_batch, member_seed


@dataclass(frozen=True)
class EnsembleRecipe:
    """``members`` networks, freshly drawn each from its own seed, trained together to tell the people of faces apart.

    network: what to train; None for the recognizer at hand, whose copies begin with a freshly drawn last layer each,
             since copies that are alike would stay so.
    shared_head: whether the members have one head, of a row for each person, or one each.
    margin: the margin of the classification loss. classification_target: the embeddings that the loss is taken on;
             ``mean`` and ``both`` need a shared head.
    terms: what else is descended, by the name under which it is logged; of several members only.
    flip: mirror every other face, by chance.
    validation: pairs whose accuracy is logged every ``val_every_n_epochs`` epochs, and chooses nothing.

    The artifact: ``members.K.NAME`` the weights of each network, without preprocessing; ``heads.J`` (n, d);
    ``history/...`` by epoch; ``diagnosis/...``.
    """

    identity = "recipe.ensemble"
    version = 1

    margin: Margin
    schedule: Schedule
    network: Untrained | None = None
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
            raise ConfigError(
                f"{where}.terms={', '.join(self.terms)}: one member has none to differ from; set members=3"
            )

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

    def beginning(self, context: FitContext, member: int) -> nn.Module:
        """The network of ``member`` before training. Raises FrbenchError: there is none to begin from."""
        seed = member_seed(context.seed, member)
        if self.network is not None:
            return self.network.module(seed)
        if context.recognizer is None:
            raise ConfigError("there is nothing to train; choose a network, or a recognizer that gives embeddings")
        module = network_of(context.recognizer)
        redraw_end(module, seed)
        return module

    def lesson(self, context: FitContext) -> Lesson:
        return Lesson(self.schedule, self.flip, Validation(self.validation, context.cache), self.val_every_n_epochs)

    def fit(self, context: FitContext) -> Artifact:
        """Raises FrbenchError: nothing to begin from; faces of one person, of nobody, or of people without any."""
        members = [self.beginning(context, member) for member in range(self.members)]
        return _Ensemble(members, self, context).taught(context, "recognizer" if self.members == 1 else "ensemble")


class _Ensemble(Students):
    """A ``Learner`` of ``recipe``."""

    def __init__(self, members: list[nn.Module], recipe: EnsembleRecipe, context: FitContext) -> None:
        super().__init__(members, recipe.lesson(context), context, recipe.shared_head)
        self.recipe = recipe

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        units = self.look(self.turned(images, generator))
        with torch.autocast(images.device.type, enabled=False):
            return self._judged(Seen(units, self.centres(), self.person[rows], self.progress))

    def _judged(self, seen: Seen) -> tuple[Tensor, dict[str, Tensor]]:
        classify = CLASSIFICATIONS[self.recipe.classification_target]
        loss, right = classify(seen, self.recipe.margin, self.epoch)
        figures = {"classification": loss, "accuracy": right}
        for name, term in self.recipe.terms.items():
            cost, details = term(seen)
            loss = loss + cost
            figures |= {f"{name}_{detail}": each for detail, each in details.items()}
        with torch.no_grad():
            figures["tilt"] = tilt(seen).mean()
            if seen.units.shape[1] > 1:
                figures["cosine"] = pairwise_cosine(seen.units).mean()
        return loss, figures
