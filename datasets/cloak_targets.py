"""Target pool of targeted cloaks: each user targets one distant person of another identity set, as in Fawkes v0.3."""

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

_BATCH = 64  # photos embedded at a time


@dataclass(frozen=True, kw_only=True)
class TargetPool:
    """Target identities of cloaks. A user's target is sampled from the identities most distant from the user's photos.

    Args:
        faces: photos of the people; those who are users themselves are left out.
        recognizer: embeds the photos that distances are measured between.
        top_k: the target is drawn uniformly from this many most distant people (20 in Fawkes v0.3).
        photos: photos of the target that the user's cloaks resemble, at most.
    """

    identity = "dataset.cloak_targets"
    version = 1

    faces: FaceSource
    recognizer: Recognizer
    top_k: PositiveInt = 20
    photos: PositiveInt = 10

    def select(self, users: FaceSet, cache: Path, seed: int) -> tuple[FaceSet, list[np.ndarray]]:
        """The pool without the users, and for each user the rows of the target's photos.

        Raises ConfigError: nobody is left in the pool.
        """
        pool = _without(self.faces.open(cache), users.people)
        own, means = self._embed(users), _class_means(self._embed(pool), pool.identity)
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        rows = []
        for user in range(len(users.people)):
            target = distant_target(own[users.identity == user], means, generator, self.top_k)
            rows.append(np.flatnonzero(pool.identity == target)[: self.photos])
        return pool, rows

    @torch.no_grad()
    def _embed(self, faces: FaceSet) -> Embeddings:
        parts = np.array_split(np.arange(len(faces.images)), -(-len(faces.images) // _BATCH))
        return torch.cat([self.recognizer.embed(faces.load(part)).cpu() for part in parts])


def _without(faces: FaceSet, people: tuple[str, ...]) -> FaceSet:
    known = {person: number for number, person in enumerate(each for each in faces.people if each not in set(people))}
    if not known:
        raise ConfigError(
            f"all {len(faces.people)} people of {faces.name} are users, so the target pool is empty; add people to "
            "dataset.target_pool.faces"
        )
    number = np.array([known.get(person, -1) for person in faces.people])[faces.identity]
    rows = np.flatnonzero(number >= 0)
    return replace(faces, images=faces.images[rows], identity=number[rows], people=tuple(known))


def _class_means(features: Embeddings, identity: np.ndarray) -> Tensor:
    person = torch.from_numpy(identity)
    count = torch.bincount(person)[:, None]
    return torch.zeros(len(count), features.shape[1]).index_add_(0, person, features) / count


def distant_target(features: Tensor, class_means: Tensor, generator: torch.Generator, top_k: int = 20) -> int:
    """The class, a row of ``class_means`` (K, D), that the cloaks of a user with ``features`` (n, D) target.

    Uniform over the ``top_k`` classes whose mean is farthest from the nearest of the user's photos (Fawkes v0.3).
    """
    nearest = torch.cdist(features, class_means).amin(dim=0)
    farthest = nearest.topk(min(top_k, len(nearest))).indices
    return int(farthest[torch.randint(len(farthest), (), generator=generator)])
