"""Users who publish photos of themselves: an identity set as the photos that cloaks are made for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from frbench.datasets.cloak_targets import Strangers
from frbench.datasets.io.image_store import combined_digest
from frbench.harness.core.contracts import Draw
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.domains import AtLeastTwo, Seed, UserPhotos
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSet, FaceSource, ImageStack, UserSet

LEAST = 4  # photos of a user: of fewer, 30 % are no photo to be recognised on


@dataclass(frozen=True, kw_only=True)
class Users:
    """The first ``people`` of ``faces`` that have ``shots`` photos, each with so many, chosen by ``seed``.

    people, shots: None for all; without ``shots`` a person needs four photos. A pair is a photo beside itself: what an
    attack changes, it shall make unlike itself. Its decoy is a photo of another person. All photos of one user aim at
    the photos of ONE other person, drawn by ``seed``, as who cloaks a folder chooses one person to resemble: another
    user, or one of ``strangers`` that is far from the user's photos.
    """

    identity = "dataset.cloaking_users"
    version = 1

    name: str
    faces: FaceSource
    people: AtLeastTwo | None = 20
    shots: UserPhotos | None = 14
    seed: Seed = 0
    strangers: Strangers | None = None

    def open(self, cache: Path) -> UserSet:
        """Photos ordered by user. Raises FrbenchError: too few people, too few photos, bad files."""
        self._check()
        faces = self.faces.open(cache)
        rows = self._chosen(faces)
        identity = np.unique(faces.identity[rows], return_inverse=True)[1].reshape(-1).astype(np.int64)
        people = tuple(faces.people[number] for number in np.unique(faces.identity[rows]))
        whole = np.array_equal(rows, np.arange(len(faces.images)))
        images = faces.images if whole else np.ascontiguousarray(faces.images[rows])
        remarks = {**faces.remarks, "people_with_too_few_photos": self._passed_over(faces)}
        own = FaceSet(self.name, images, identity, people, combined_digest(faces.digest, photos=rows), remarks)
        if self.strangers is not None:
            return self._with_pool(own, cache)
        return self._user_set(own, own.images, self._targets(identity))

    def _with_pool(self, own: FaceSet, cache: Path) -> UserSet:
        """Each user targets one person of the target pool."""
        assert self.strangers is not None
        faces, rows = self.strangers.chosen(own, cache, self.seed)
        first = np.cumsum([0, *map(len, rows)])
        target = np.empty(len(own.images), np.int64)
        for user, (start, theirs) in enumerate(zip(first, rows, strict=False)):
            mine = np.flatnonzero(own.identity == user)
            target[mine] = start + np.arange(len(mine)) % len(theirs)
        shown = np.concatenate(rows)
        digest = combined_digest(own.digest, strangers=shown, theirs=np.frombuffer(faces.digest.encode(), np.uint8))
        return self._user_set(replace(own, digest=digest), faces.images[shown], target)

    def _user_set(self, own: FaceSet, targets: ImageStack, target: np.ndarray) -> UserSet:
        return UserSet(
            name=self.name,
            images=own.images,
            identity=own.identity,
            targets=targets,
            target=target,
            digest=combined_digest(own.digest, decoy=target),
            people=own.people,
            remarks=own.remarks,
        )

    def _check(self) -> None:
        if self.people is not None and self.people < 2:
            raise ConfigError(f"dataset {self.name}: people={self.people}, expected at least 2, or null for all")
        if self.shots is not None and self.shots < LEAST:
            raise ConfigError(f"dataset {self.name}: shots={self.shots}, expected at least {LEAST}, or null for all")

    def _chosen(self, faces: FaceSet) -> np.ndarray:
        """Rows of ``faces``, by user and then as they stand there."""
        least = self.shots or LEAST
        able = self._able(faces)
        if len(able) < max(self.people or 2, 2):
            raise ConfigError(
                f"dataset {self.name}: {len(able)} of {len(faces.people)} people have {least} photos or more, and "
                f"{self.people or 2} are needed; lower dataset.people or dataset.shots"
            )
        taken = [self._some(np.flatnonzero(faces.identity == person)) for person in able]
        return np.concatenate(taken)

    def _able(self, faces: FaceSet) -> np.ndarray:
        """The first people with photos enough."""
        count = np.bincount(faces.identity, minlength=len(faces.people))
        return np.flatnonzero(count >= (self.shots or LEAST))[: self.people]

    def _passed_over(self, faces: FaceSet) -> int:
        """How many people have too few photos, of those who came in turn."""
        able = self._able(faces)
        came = len(faces.people) if self.people is None else int(able[-1]) + 1
        return came - len(able)

    def _some(self, rows: np.ndarray) -> np.ndarray:
        order = np.argsort(self._chance(rows, Stream.USER_PHOTOS), kind="stable")
        return np.sort(rows[order[: self.shots]])

    def _targets(self, identity: np.ndarray) -> np.ndarray:
        """For each photo (M,) a row of the one person that its user aims at, that person's photos in turn."""
        users = np.arange(identity.max() + 1)
        step = 1 + np.floor(self._chance(users, Stream.USER_TARGETS) * (len(users) - 1)).astype(np.int64)
        target_of = np.empty(len(identity), np.int64)
        for user, target in zip(users, (users + step) % len(users), strict=True):
            own, theirs = np.flatnonzero(identity == user), np.flatnonzero(identity == target)
            target_of[own] = theirs[np.arange(len(own)) % len(theirs)]
        return target_of

    def _chance(self, index: np.ndarray, stream: Stream) -> np.ndarray:
        return uniform(torch.from_numpy(index), Draw(self.seed, stream), (1,))[:, 0].numpy().astype(np.float64)
