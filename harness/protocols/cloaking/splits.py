"""Who trains on what: the split of each user's photos, and who cloaks when whose turn it is. Pure and seeded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from frbench.harness.core.contracts import Draw
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.errors import ConfigError
from frbench.harness.protocols.cloaking.trackers.base import Scene


class Split(NamedTuple):
    """Photos by number, rising: int64 (n,) to train on and int64 (m,) to be asked about."""

    train: np.ndarray
    test: np.ndarray


def split(identity: np.ndarray, share: float, seed: int, number: int) -> Split:
    """Of each person's photos a random ``share``, rounded down, to test, the rest to train; ``number``: which split.

    Raises FrbenchError: somebody would have no photo on one side.
    """
    count = np.bincount(identity)
    held = _held(count, share)
    lacking = np.flatnonzero((held < 1) | (held >= count))
    if len(lacking):
        raise ConfigError(
            f"protocol.test_share={share} of the {count[lacking[0]]} photos of a user leaves none to train on or none "
            "to be recognised on; change it, or raise dataset.photos_per_person"
        )
    test = _place(identity, Draw(seed, Stream.PHOTO_SPLIT, k=number)) < held[identity]
    return Split(np.flatnonzero(~test), np.flatnonzero(test))


def _held(count: np.ndarray, share: float) -> np.ndarray:
    return np.floor(share * count + 1e-9).astype(np.int64)


def check_uncloaked(identity: np.ndarray, share: float, uncloaked: int) -> None:
    """Raises FrbenchError: somebody who cloaks would have no cloaked photo to train on, and nothing be measured."""
    count = np.bincount(identity)
    train = count - _held(count, share)
    least = int(train.min())
    if uncloaked >= least:
        raise ConfigError(
            f"protocol.uncloaked_training_photos={uncloaked} leaves all {least} training photos of a user natural, so "
            "nothing is cloaked; lower it, or raise dataset.photos_per_person"
        )


def scenes(
    identity: np.ndarray, train: np.ndarray, uncloaked: int, fraction: float, users: int | None, seed: int, number: int
) -> list[Scene]:
    """Nobody's turn first, then that of each of the first ``users`` people: they cloak their training photos.

    uncloaked: training photos of each cloaking user that stay natural, the same in every scene; see
    ``check_uncloaked``.
    fraction: so much of the other people cloaks too.
    """
    labels = identity[train]
    people = int(identity.max()) + 1
    natural = np.zeros(len(identity), bool)
    natural[train] = _place(labels, Draw(seed, Stream.UNCLOAKED_PHOTOS, k=number)) < uncloaked
    company = np.argsort(_chance(people, Draw(seed, Stream.OTHER_CLOAKING_USERS, k=number)), kind="stable")
    count = int(np.floor(fraction * (people - 1) + 0.5))
    found = [Scene(None, np.zeros(len(train), bool))]
    for user in range(people)[:users]:
        cloaking = [user, *company[company != user][:count]]
        found.append(Scene(user, np.isin(labels, cloaking) & ~natural[train]))
    return found


def published_cloaks(identity: np.ndarray, rounds: Iterable[tuple[Split, Sequence[Scene]]]) -> np.ndarray:
    """Photos (M,) bool that their user publishes cloaked in a turn of that user's own, in any split.

    The others are natural in every tracker that is judged by them: photos that are only tested or leaked, and those of
    users who take no turn.
    """
    found = np.zeros(len(identity), bool)
    for part, played in rounds:
        for scene in played:
            cloaked = part.train[scene.cloaked]
            found[cloaked[identity[cloaked] == scene.user]] = True
    return found


def _place(group: np.ndarray, draw: Draw) -> np.ndarray:
    """The place (n,) of each member in a random order of its own group."""
    order = np.lexsort((_chance(len(group), draw), group))
    ordered = group[order]
    place = np.empty(len(group), np.int64)
    place[order] = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    return place


def _chance(count: int, draw: Draw) -> np.ndarray:
    return uniform(torch.arange(count), draw, (1,))[:, 0].numpy().astype(np.float64)
