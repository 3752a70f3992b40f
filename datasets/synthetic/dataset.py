"""Faces of people who do not exist: a verification set and an identity set that need neither network nor data."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from io import BytesIO
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from frbench.datasets.io.image_store import Contents, Encoded, Stack, combined_digest, open_stack
from frbench.datasets.io.pair_lists import PairList, assemble
from frbench.datasets.io.pair_subsets import Subset
from frbench.datasets.synthetic import render as rendering
from frbench.harness.core.contracts import Draw
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.domains import AtLeastTwo, PositiveInt, Seed, SyntheticPairs, SyntheticPeople
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSet, PairSet

FOLDS = 10
RENDERER_VERSION = 1  # raised whenever a photograph may look different; kept photographs belong to it
_BLOCK = 128  # photographs rendered at a time and held in memory


@dataclass(frozen=True, kw_only=True)
class Synthetic(Subset):
    """A verification set of ``people`` x ``photos_per_person`` photographs: 10 folds, no person in two of them.

    people_seed: which people; other seeds make other people, so sets of different seeds share nobody.
    pairs: over all folds, half of them genuine.
    limit, calibrate, seed: see ``Subset``.
    """

    identity = "dataset.synthetic"
    version = 1

    name: str = "synthetic"
    people: SyntheticPeople = 120
    photos_per_person: AtLeastTwo = 8
    pairs: SyntheticPairs = 1200
    people_seed: Seed = 2

    def open(self, cache: Path) -> PairSet:
        """Renders on first use (minutes per ten thousand images), then opens in milliseconds.

        Raises FrbenchError: numbers that do not go together.
        """
        self.check(self.name)
        self._check("dataset")
        stack = _photographs(self.name, self.people_seed, self.people, self.photos_per_person, cache)
        identity = np.repeat(np.arange(self.people), self.photos_per_person)
        found = assemble(self.name, stack, self._pairs(), identity, self, _people(self.people_seed, self.people))
        numbers = product(range(self.people), range(self.photos_per_person))
        return replace(found, photos=tuple(f"person_{person}/photo_{photo}" for person, photo in numbers))

    def check_combination(self, where: str) -> None:
        super().check_combination(where)
        self._check(where)

    def _check(self, where: str) -> None:
        photos = self.photos_per_person
        if self.people % FOLDS or self.people < 3 * FOLDS or photos < 2:
            raise ConfigError(
                f"{where}.people={self.people}, {where}.photos_per_person={photos}, expected a multiple of {FOLDS} "
                f"people from {3 * FOLDS} up and at least 2 photos of each"
            )
        group = self.people // FOLDS
        each = min(group * photos * (photos - 1) // 2, group * ((group - 1) // 2) * photos**2)
        if self.pairs % (2 * FOLDS) or not 0 < self.pairs <= 2 * FOLDS * each:
            raise ConfigError(
                f"{where}.pairs={self.pairs}, expected a multiple of {2 * FOLDS} up to "
                f"{2 * FOLDS * each} for {self.people} people with {photos} photos each"
            )

    def _pairs(self) -> PairList:
        """Per fold first the genuine pairs, then the impostors; every person appears equally often in each."""
        group, each = self.people // FOLDS, self.pairs // (2 * FOLDS)
        turn, place = np.divmod(np.arange(each), group)
        kinds = [np.ones(each, bool), np.zeros(each, bool)]
        probe, reference = [], []
        for fold in range(FOLDS):
            first = fold * group
            a, b = self._genuine(first + place, turn)
            c, d = self._impostors(first, place, turn)
            probe += [a, c]
            reference += [b, d]
        return PairList(
            probe=np.concatenate(probe),
            reference=np.concatenate(reference),
            same=np.concatenate(kinds * FOLDS),
            fold=np.repeat(np.arange(FOLDS), 2 * each),
        )

    def _genuine(self, person: np.ndarray, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pair number ``turn`` in a random order of all pairs of photos of each person."""
        first, second = np.triu_indices(self.photos_per_person, 1)
        chance = uniform(torch.from_numpy(person), Draw(self.people_seed, Stream.GENUINE_PAIRS), (len(first),)).numpy()
        chosen = np.argsort(chance, axis=1, kind="stable")[np.arange(len(person)), turn]
        return person * self.photos_per_person + first[chosen], person * self.photos_per_person + second[chosen]

    def _impostors(self, first: int, place: np.ndarray, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each person paired with the next of the fold, then the next but one, and so on; photos at random."""
        group = self.people // FOLDS
        again, step = np.divmod(turn, (group - 1) // 2)
        a, b = first + place, first + (place + 1 + step) % group
        chance = uniform(torch.from_numpy(a * self.people + b), Draw(self.people_seed, Stream.IMPOSTOR_PAIRS), (1,))[
            :, 0
        ]
        count = self.photos_per_person
        photos = (np.floor(chance.numpy() * count**2).astype(np.int64) + again) % count**2
        return a * count + photos // count, b * count + photos % count


@dataclass(frozen=True, kw_only=True)
class SyntheticFaces:
    """An identity set for fitting. People of another ``people_seed`` than a test set's are other people."""

    identity = "identities.synthetic"
    version = 1

    name: str = "synthetic_faces"
    people: PositiveInt = 120
    photos_per_person: PositiveInt = 8
    people_seed: Seed = 3

    def open(self, cache: Path) -> FaceSet:
        """Images ordered by person. Raises ConfigError: no people or no photos."""
        if self.people < 1 or self.photos_per_person < 1:
            raise ConfigError(
                f"{self.name}: people={self.people}, photos_per_person={self.photos_per_person}, expected at least 1 "
                "of each"
            )
        stack = _photographs(self.name, self.people_seed, self.people, self.photos_per_person, cache)
        identity = np.repeat(np.arange(self.people), self.photos_per_person)
        return FaceSet(
            name=self.name,
            images=stack.images,
            identity=identity,
            people=_people(self.people_seed, self.people),
            digest=combined_digest(stack.digest, identity=identity),
        )


def _people(seed: int, count: int) -> tuple[str, ...]:
    return tuple(f"synthetic {seed} {number}" for number in range(count))


def _photographs(name: str, people_seed: int, people: int, each: int, cache: Path) -> Stack:
    """The stack of all photographs, person by person; rendered in blocks as the store asks for them."""
    total = people * each
    lock = threading.Lock()

    @lru_cache(maxsize=2)
    def block(number: int) -> np.ndarray:
        rows = np.arange(number * _BLOCK, min((number + 1) * _BLOCK, total))
        return rendering.render(people_seed, rows // each, rows % each)

    def encoded(row: int) -> bytes:
        with lock:
            pixels = block(row // _BLOCK)[row % _BLOCK]
        png = BytesIO()
        Image.fromarray(pixels).save(png, "PNG", compress_level=0)
        return png.getvalue()

    def contents() -> Contents:
        return Contents([Encoded(f"{name}: photograph {row}", partial(encoded, row)) for row in range(total)])

    signature = [f"people_seed={people_seed}", f"people={people}", f"shots={each}", f"renderer={RENDERER_VERSION}"]
    return open_stack(name, signature, contents, cache)
