"""Whom a targeted cloak resembles: somebody far from all of the user's photos, as Fawkes v0.3 chooses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Embeddings, Recognizer
from frbench.harness.core.domains import PositiveInt
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSet, FaceSource

_TOGETHER = 64  # photos embedded at a time


@dataclass(frozen=True, kw_only=True)
class Strangers:
    """People whom cloaks may aim at, and the recognizer that says who of them is far from a user.

    among: the class is drawn from so many farthest. photos: at most so many of its photos are aimed at
    (specs/cloaks_puface 3.3).
    """

    identity = "dataset.cloak_targets"
    version = 1

    faces: FaceSource
    eyes: Recognizer
    among: PositiveInt = 20
    photos: PositiveInt = 10

    def chosen(self, users: FaceSet, cache: Path, seed: int) -> tuple[FaceSet, list[np.ndarray]]:
        """The strangers' faces, and for each user the rows of the one whom the user aims at.

        Users among them are left out. Raises FrbenchError: nobody is left.
        """
        faces = _without(self.faces.open(cache), users.people)
        own, means = self._look(users), _class_means(self._look(faces), faces.identity)
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        rows = []
        for user in range(len(users.people)):
            target = farthest_targets(own[users.identity == user], means, generator, self.among)
            rows.append(np.flatnonzero(faces.identity == target)[: self.photos])
        return faces, rows

    @torch.no_grad()
    def _look(self, faces: FaceSet) -> Embeddings:
        parts = np.array_split(np.arange(len(faces.images)), -(-len(faces.images) // _TOGETHER))
        return torch.cat([self.eyes.embed(faces.load(part)).cpu() for part in parts])


def _without(faces: FaceSet, people: tuple[str, ...]) -> FaceSet:
    known = {person: number for number, person in enumerate(each for each in faces.people if each not in set(people))}
    if not known:
        raise ConfigError(
            f"all {len(faces.people)} people of {faces.name} are users themselves, so there is no stranger to aim at; "
            "take more people for dataset.strangers.faces"
        )
    number = np.array([known.get(person, -1) for person in faces.people])[faces.identity]
    rows = np.flatnonzero(number >= 0)
    return replace(faces, images=faces.images[rows], identity=number[rows], people=tuple(known))


def _class_means(features: Embeddings, identity: np.ndarray) -> Tensor:
    person = torch.from_numpy(identity)
    count = torch.bincount(person)[:, None]
    return torch.zeros(len(count), features.shape[1]).index_add_(0, person, features) / count


def farthest_targets(features: Tensor, class_means: Tensor, generator: torch.Generator, among: int = 20) -> int:
    """The class (a row of ``class_means``, (K, D)) that a user with ``features`` (n, D) is to resemble.

    Uniform among the ``among`` classes whose mean is farthest from the nearest of the photos (specs/cloaks_puface 3.3).
    """
    nearest = torch.cdist(features, class_means).amin(dim=0)
    farthest = nearest.topk(min(among, len(nearest))).indices
    return int(farthest[torch.randint(len(farthest), (), generator=generator)])
