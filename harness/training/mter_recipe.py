"""Adversarial training of a recognizer by a margin-based triplet (MTER: Zhong and Deng, ICCV 2019).

A trained recognizer continues for a few steps: faces of one half of the people are changed until they resemble faces of
the other half, and a triplet loss moves them back to their own features.

The method: docs/methods/ensembles.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Artifact, FitContext, Recognizer
from frbench.harness.core.domains import CosineGap, NonNegative, PositiveInt
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import Images, PairSource
from frbench.harness.core.fingerprints import hyperparameters
from frbench.harness.recognizers.initialization import Architecture, load_member
from frbench.harness.runtime.memory import give_back_freed_memory
from frbench.harness.training.ensemble_recipe import EnsembleRecipe
from frbench.harness.training.loop import Schedule
from frbench.harness.training.losses.base import EnsembleOutput
from frbench.harness.training.losses.classification import CLASSIFICATIONS
from frbench.harness.training.losses.margins import Margin
from frbench.harness.training.losses.mter import Search, triplet
from frbench.harness.training.pair_validation import Validation
from frbench.harness.training.recognizer_learner import RecognizerLearner, TrainingOptions, check_batch

_HALVES = 2  # the stream of seeds of the halves


@dataclass(frozen=True)
class MterRecipe:
    """Continues the training of ``start``, a recipe of one member, on adversarial faces.

    A batch holds both sides of the pairs; faces of the larger half stay unpaired. The authors start from a new head,
    which a tenth of the steps could not train.

    Args:
        start: Recipe of the network and head to start from.
        margin: Margin of the classification loss, on unchanged faces.
        search: How faces are changed.
        schedule: Optimizer, learning rate and stopping.
        alpha: Margin of the triplet loss.
        weight: Weight of the triplet loss.
        class_weight: Weight of the classification loss.
        flip, validation, val_every_n_epochs: As in ``EnsembleRecipe``, and so is the artifact, of one member.
    """

    identity = "recipe.mter"
    version = 1

    start: EnsembleRecipe
    margin: Margin
    search: Search
    schedule: Schedule
    alpha: CosineGap = 0.2
    weight: NonNegative = 1.0
    class_weight: NonNegative = 1 / 3
    flip: bool = True
    validation: Mapping[str, PairSource] = field(default_factory=dict, compare=False)
    val_every_n_epochs: PositiveInt = field(default=1, compare=False)

    members = 1
    shared_head = True

    def check_combination(self, where: str) -> None:
        check_batch(self.schedule, where)
        if self.start.members != 1:
            raise ConfigError(f"{where}.start.members={self.start.members}: adversarial training continues one network")

    @property
    def network(self) -> Architecture | None:
        return self.start.network

    @property
    def needs_recognizer(self) -> bool:
        return self.start.needs_recognizer

    def metadata(self, recognizer: Recognizer | None) -> dict[str, Any]:
        """As of ``EnsembleRecipe``."""
        return {**self.start.metadata(recognizer), "recipe": hyperparameters(self)}

    def fit(self, context: FitContext) -> Artifact:
        """Raises FrbenchError: see ``EnsembleRecipe.fit``."""
        initial = context.part(self.start)
        module = load_member(self.start.initial_network(context, 0), initial)
        learner = _Mter([module], self, context)
        with torch.no_grad():
            learner.heads[0].copy_(initial["heads.0"])
        return learner.fit(context, "adversarial training")


class _Mter(RecognizerLearner):
    """A ``Learner`` of ``recipe``."""

    def __init__(self, members: list[torch.nn.Module], recipe: MterRecipe, context: FitContext) -> None:
        validation = Validation(recipe.validation, context.cache)
        options = TrainingOptions(recipe.schedule, recipe.flip, validation, recipe.val_every_n_epochs)
        super().__init__(members, options, context, True)
        self.recipe, self.seed = recipe, context.seed
        self._halves: tuple[int, Tensor] | None = None

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        give_back_freed_memory()  # batches differ in their number of pairs
        images, person = self.random_flip(images, generator), self.person[rows]
        source, target = self.pairs(person, generator)
        changed = self.changed(images[source], images[target])
        embeddings = self.embed(torch.cat([images, changed]))
        with torch.autocast(images.device.type, enabled=False):
            natural, moved = embeddings[: len(images)], embeddings[len(images) :, 0]
            output = EnsembleOutput(natural, self.class_centers(), person, self.progress)
            classification, right = CLASSIFICATIONS["member"](output, self.recipe.margin, self.epoch)
            triplet_loss = triplet(moved, natural[source, 0], natural[target, 0], self.recipe.alpha)
        figures = {"classification": classification, "accuracy": right, "triplet": triplet_loss}
        return self.recipe.class_weight * classification + self.recipe.weight * triplet_loss, figures

    def pairs(self, person: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random rows (T,) of sources and of their targets, of different people, among the labels (B,)."""
        first = self._half()[person]
        source, target = (
            places[torch.randperm(len(places), generator=generator, device=places.device)]
            for places in (first.nonzero()[:, 0], (~first).nonzero()[:, 0])
        )
        count = min(len(source), len(target))
        return source[:count], target[:count]

    def _half(self) -> Tensor:
        """bool (n,): whether a person belongs to the first half in this epoch."""
        epoch = int(self.epoch)
        if self._halves is None or self._halves[0] != epoch:
            people = len(self.heads[0])
            order = np.random.default_rng((self.seed, _HALVES, epoch)).permutation(people)
            first = torch.from_numpy(order % 2 == 0).to(self.person.device)
            self._halves = epoch, first
        return self._halves[1]

    def changed(self, source: Images, target: Images) -> Images:
        """``source`` after the search, in evaluation mode, which leaves the running statistics unchanged."""
        network = self.members[0].eval()
        try:
            return self.recipe.search(lambda images: self.embed(images)[:, 0], source, target)
        finally:
            network.train()
            torch.clear_autocast_cache()  # else older PyTorch uses cached weights without gradients
