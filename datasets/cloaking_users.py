"""Data set of ``protocol=cloaking``: people of an identity set as users who publish photos of themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from frbench.datasets.cloak_targets import TargetPool
from frbench.datasets.io.image_store import combined_digest
from frbench.harness.core.contracts import Draw
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.domains import AtLeastTwo, Seed, UserPhotos
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSet, FaceSource, ImageStack, UserSet

LEAST = 4  # photos of a user: of fewer, 30 % are less than one test photo


@dataclass(frozen=True, kw_only=True)
class Users:
    """The first ``people`` of ``faces`` who have enough photos, each with ``photos_per_person`` photos.

    All photos of a user target photos of one other person: another user, or a person of the ``target_pool``.

    Args:
        name: of the data set.
        faces: the identity set.
        people: number of users; None for all.
        photos_per_person: photos of each user, drawn by the seed; None for all photos of everybody with at least 4.
        seed: draws the photos and the targets.
        target_pool: target identities of targeted cloaks; None for the other users.
    """

    identity = "dataset.cloaking_users"
    version = 1

    name: str
    faces: FaceSource
    people: AtLeastTwo | None = 20
    photos_per_person: UserPhotos | None = 14
    seed: Seed = 0
    target_pool: TargetPool | None = None

    def open(self, cache: Path) -> UserSet:
        """Photos ordered by user. Raises FrbenchError: too few people, too few photos, bad files."""
        self._check()
        faces = self.faces.open(cache)
        rows = self._chosen(faces)
        identity = np.unique(faces.identity[rows], return_inverse=True)[1].reshape(-1).astype(np.int64)
        people = tuple(faces.people[number] for number in np.unique(faces.identity[rows]))
        whole = np.array_equal(rows, np.arange(len(faces.images)))
        images = faces.images if whole else np.ascontiguousarray(faces.images[rows])
        remarks = {**faces.remarks, "people_with_too_few_photos": self._skipped(faces)}
        own = FaceSet(self.name, images, identity, people, combined_digest(faces.digest, photos=rows), remarks)
        if self.target_pool is None:
            return self._user_set(own, own.images, self._targets(identity))
        return self._with_pool(self.target_pool, own, cache)

    def _with_pool(self, target_pool: TargetPool, own: FaceSet, cache: Path) -> UserSet:
        """Each user targets one person of the pool."""
        pool, rows = target_pool.select(own, cache, self.seed)
        first = np.cumsum([0, *map(len, rows)])
        target = np.empty(len(own.images), np.int64)
        for user, (start, theirs) in enumerate(zip(first, rows, strict=False)):
            mine = np.flatnonzero(own.identity == user)
            target[mine] = start + np.arange(len(mine)) % len(theirs)
        kept = np.concatenate(rows)
        digest = combined_digest(own.digest, target_rows=kept, pool=np.frombuffer(pool.digest.encode(), np.uint8))
        return self._user_set(replace(own, digest=digest), pool.images[kept], target)

    def _user_set(self, own: FaceSet, targets: ImageStack, target: np.ndarray) -> UserSet:
        return UserSet(
            name=self.name,
            images=own.images,
            identity=own.identity,
            targets=targets,
            target=target,
            digest=combined_digest(own.digest, target=target),
            people=own.people,
            remarks=own.remarks,
        )

    def _check(self) -> None:
        if self.people is not None and self.people < 2:
            raise ConfigError(f"dataset {self.name}: people={self.people}, expected at least 2, or null for all")
        if self.photos_per_person is not None and self.photos_per_person < LEAST:
            raise ConfigError(
                f"dataset {self.name}: photos_per_person={self.photos_per_person}, expected at least {LEAST}, or null "
                "for all"
            )

    def _chosen(self, faces: FaceSet) -> np.ndarray:
        """Rows of ``faces``, ordered by user and then as in ``faces``."""
        least = self.photos_per_person or LEAST
        eligible = self._eligible(faces)
        if len(eligible) < max(self.people or 2, 2):
            raise ConfigError(
                f"dataset {self.name}: {len(eligible)} of {len(faces.people)} people have {least} photos or more, and "
                f"{self.people or 2} are needed; lower dataset.people or dataset.photos_per_person"
            )
        return np.concatenate([self._some(np.flatnonzero(faces.identity == person)) for person in eligible])

    def _eligible(self, faces: FaceSet) -> np.ndarray:
        """The first ``people`` with enough photos."""
        count = np.bincount(faces.identity, minlength=len(faces.people))
        return np.flatnonzero(count >= (self.photos_per_person or LEAST))[: self.people]

    def _skipped(self, faces: FaceSet) -> int:
        """How many people before the last user have too few photos."""
        eligible = self._eligible(faces)
        visited = len(faces.people) if self.people is None else int(eligible[-1]) + 1
        return visited - len(eligible)

    def _some(self, rows: np.ndarray) -> np.ndarray:
        order = np.argsort(self._chance(rows, Stream.USER_PHOTOS), kind="stable")
        return np.sort(rows[order[: self.photos_per_person]])

    def _targets(self, identity: np.ndarray) -> np.ndarray:
        """For each photo (M,) a row of the one other user that its user targets; the target's photos take turns."""
        users = np.arange(identity.max() + 1)
        step = 1 + np.floor(self._chance(users, Stream.USER_TARGETS) * (len(users) - 1)).astype(np.int64)
        rows = np.empty(len(identity), np.int64)
        for user, target in zip(users, (users + step) % len(users), strict=True):
            own, theirs = np.flatnonzero(identity == user), np.flatnonzero(identity == target)
            rows[own] = theirs[np.arange(len(own)) % len(theirs)]
        return rows

    def _chance(self, index: np.ndarray, stream: Stream) -> np.ndarray:
        return uniform(torch.from_numpy(index), Draw(self.seed, stream), (1,))[:, 0].numpy().astype(np.float64)
