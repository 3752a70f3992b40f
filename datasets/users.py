"""Users who publish photos of themselves: an identity set as the photos that cloaks are made for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from frbench.datasets.imagestore import combined_digest
from frbench.harness.contracts import Draw
from frbench.harness.errors import FrbenchError
from frbench.harness.faces import FaceSet, FaceSource, PairSet
from frbench.harness.noise import uniform

LEAST = 4  # photos of a user: of fewer, 30 % are no photo to be recognised on
_SHOTS, _TARGETS = 301, 302  # which use of the set's seed a random number belongs to


@dataclass(frozen=True, kw_only=True)
class Users:
    """The first ``people`` of ``faces`` that have ``shots`` photos, each with so many, chosen by ``seed``.

    people, shots: None for all; without ``shots`` a person needs four photos. A pair is a photo beside itself: what an
    attack changes, it shall make unlike itself. Its decoy is a photo of another person. All photos of one user aim at
    the photos of ONE other person, drawn by ``seed``, as who cloaks a folder chooses one person to resemble.
    """

    name: str
    faces: FaceSource
    people: int | None = 20
    shots: int | None = 14
    seed: int = 0

    def open(self, cache: Path) -> PairSet:
        """Photos ordered by user. Raises FrbenchError: too few people, too few photos, bad files."""
        self._check()
        faces = self.faces.open(cache)
        rows = self._chosen(faces)
        identity = np.unique(faces.identity[rows], return_inverse=True)[1].reshape(-1).astype(np.int64)
        photos = np.arange(len(rows))
        arrays = {"photos": rows, "identity": identity, "decoy": self._decoys(identity)}
        whole = np.array_equal(rows, np.arange(len(faces.images)))
        return PairSet(
            name=self.name,
            images=faces.images if whole else np.ascontiguousarray(faces.images[rows]),
            probe=photos,
            reference=photos,
            decoy=arrays["decoy"],
            same=np.ones(len(rows), bool),
            fold=np.zeros(len(rows), np.int64),
            identity=identity,
            attacked=photos,
            digest=combined_digest(faces.digest, **arrays),
            people=tuple(faces.people[number] for number in np.unique(faces.identity[rows])),
        )

    def _check(self) -> None:
        if self.people is not None and self.people < 2:
            raise FrbenchError(f"dataset {self.name}: people={self.people}, expected at least 2, or null for all")
        if self.shots is not None and self.shots < LEAST:
            raise FrbenchError(f"dataset {self.name}: shots={self.shots}, expected at least {LEAST}, or null for all")

    def _chosen(self, faces: FaceSet) -> np.ndarray:
        """Rows of ``faces``, by user and then as they stand there."""
        least = self.shots or LEAST
        count = np.bincount(faces.identity, minlength=len(faces.people))
        able = np.flatnonzero(count >= least)[: self.people]
        if len(able) < max(self.people or 2, 2):
            raise FrbenchError(
                f"dataset {self.name}: {len(able)} of {len(faces.people)} people have {least} photos or more, and "
                f"{self.people or 2} are needed; lower dataset.people or dataset.shots"
            )
        taken = [self._some(np.flatnonzero(faces.identity == person)) for person in able]
        return np.concatenate(taken)

    def _some(self, rows: np.ndarray) -> np.ndarray:
        order = np.argsort(self._chance(rows, _SHOTS), kind="stable")
        return np.sort(rows[order[: self.shots]])

    def _decoys(self, identity: np.ndarray) -> np.ndarray:
        """For each photo (M,) a row of the one person that its user aims at, that person's photos in turn."""
        users = np.arange(identity.max() + 1)
        step = 1 + np.floor(self._chance(users, _TARGETS) * (len(users) - 1)).astype(np.int64)
        decoy = np.empty(len(identity), np.int64)
        for user, target in zip(users, (users + step) % len(users), strict=True):
            own, theirs = np.flatnonzero(identity == user), np.flatnonzero(identity == target)
            decoy[own] = theirs[np.arange(len(own)) % len(theirs)]
        return decoy

    def _chance(self, index: np.ndarray, use: int) -> np.ndarray:
        return uniform(torch.from_numpy(index), Draw(self.seed, use), (1,))[:, 0].numpy().astype(np.float64)
