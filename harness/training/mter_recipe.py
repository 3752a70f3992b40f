"""Adversarial training of a recognizer by a margin-based triplet (MTER: Zhong and Deng, ICCV 2019).

A trained recognizer goes on for a few steps: faces of one half of the people are changed until they resemble faces of
the other half, and then pushed back to where they came from. Spec: ensemble_attacks 4.
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
from frbench.harness.recognizers.initialization import Untrained, load_member
from frbench.harness.runtime.memory import give_back_freed_memory
from frbench.harness.training.ensemble_recipe import EnsembleRecipe
from frbench.harness.training.loop import Schedule
from frbench.harness.training.losses.base import Seen
from frbench.harness.training.losses.classification import CLASSIFICATIONS
from frbench.harness.training.losses.margins import Margin
from frbench.harness.training.losses.mter import Search, triplet
from frbench.harness.training.pair_validation import Validation
from frbench.harness.training.recognizer_learner import Lesson, Students, check_batch

_HALVES = 2  # what a seed is of


@dataclass(frozen=True)
class MterRecipe:
    """Goes on from the network and the head of ``start``, a recipe of one member.

    search: how faces are changed. alpha: the margin of the triplets. weight: of their loss, beside ``class_weight``
    times the loss ``margin`` that tells people apart, on unchanged faces. A batch holds both sides of the pairs; what
    one half of the people has in it more than the other stays unpaired. The authors begin with a new head, which a
    tenth of the steps could not make good. flip, validation, val_every_n_epochs: as in ``EnsembleRecipe``.

    The artifact is as that of one member.
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
    def network(self) -> Untrained | None:
        return self.start.network

    @property
    def needs_recognizer(self) -> bool:
        return self.start.needs_recognizer

    def metadata(self, recognizer: Recognizer | None) -> dict[str, Any]:
        """As of ``EnsembleRecipe``."""
        return {**self.start.metadata(recognizer), "recipe": hyperparameters(self)}

    def fit(self, context: FitContext) -> Artifact:
        """Raises FrbenchError: as the recipe ``start`` does."""
        begun = context.part(self.start)
        module = load_member(self.start.beginning(context, 0), begun)
        learner = _Mter([module], self, context)
        with torch.no_grad():
            learner.heads[0].copy_(begun["heads.0"])
        return learner.taught(context, "adversarial training")


class _Mter(Students):
    """A ``Learner`` of ``recipe``."""

    def __init__(self, members: list[torch.nn.Module], recipe: MterRecipe, context: FitContext) -> None:
        validation = Validation(recipe.validation, context.cache)
        lesson = Lesson(recipe.schedule, recipe.flip, validation, recipe.val_every_n_epochs)
        super().__init__(members, lesson, context, True)
        self.recipe, self.seed = recipe, context.seed
        self._halves: tuple[int, Tensor] | None = None

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        give_back_freed_memory()  # no two batches have as many pairs
        images, person = self.turned(images, generator), self.person[rows]
        source, target = self.pairs(person, generator)
        changed = self.changed(images[source], images[target])
        units = self.look(torch.cat([images, changed]))
        with torch.autocast(images.device.type, enabled=False):
            natural, moved = units[: len(images)], units[len(images) :, 0]
            seen = Seen(natural, self.centres(), person, self.progress)
            named, right = CLASSIFICATIONS["member"](seen, self.recipe.margin, self.epoch)
            pushed = triplet(moved, natural[source, 0], natural[target, 0], self.recipe.alpha)
        figures = {"classification": named, "accuracy": right, "triplet": pushed}
        return self.recipe.class_weight * named + self.recipe.weight * pushed, figures

    def pairs(self, person: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Places (T,) of sources and of their targets among persons (B,), by chance: never of one person."""
        first = self._half()[person]
        source, target = (
            places[torch.randperm(len(places), generator=generator, device=places.device)]
            for places in (first.nonzero()[:, 0], (~first).nonzero()[:, 0])
        )
        count = min(len(source), len(target))
        return source[:count], target[:count]

    def _half(self) -> Tensor:
        """bool (n,): whether a person is of the first half of this epoch."""
        epoch = int(self.epoch)
        if self._halves is None or self._halves[0] != epoch:
            people = len(self.heads[0])
            order = np.random.default_rng((self.seed, _HALVES, epoch)).permutation(people)
            first = torch.from_numpy(order % 2 == 0).to(self.person.device)
            self._halves = epoch, first
        return self._halves[1]

    def changed(self, source: Images, target: Images) -> Images:
        """By a search in evaluation mode, which leaves the running statistics as they are."""
        network = self.members[0].eval()
        try:
            return self.recipe.search(lambda images: self.look(images)[:, 0], source, target)
        finally:
            network.train()
            torch.clear_autocast_cache()  # older PyTorch would give the step weights cached without their gradients
