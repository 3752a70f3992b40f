"""Splits of each user's photos into training and test photos, and the scenarios of who cloaks. Pure and seeded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from frbench.harness.core.contracts import Draw
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.errors import ConfigError
from frbench.harness.protocols.cloaking.trackers.base import Scenario


class Split(NamedTuple):
    """Numbers of the photos, ascending: int64 (n,) training photos and int64 (m,) test photos."""

    train: np.ndarray
    test: np.ndarray


def split(identity: np.ndarray, share: float, seed: int, number: int) -> Split:
    """Split ``number``: a random ``share`` of each person's photos, rounded down, is tested, the rest trained on.

    Raises ConfigError: a person would have no training or no test photo.
    """
    count = np.bincount(identity)
    tested = _test_count(count, share)
    lacking = np.flatnonzero((tested < 1) | (tested >= count))
    if len(lacking):
        raise ConfigError(
            f"protocol.test_share={share} of the {count[lacking[0]]} photos of a user leaves no training or no test "
            "photo; change it, or raise dataset.photos_per_person"
        )
    test = _rank_in_group(identity, Draw(seed, Stream.PHOTO_SPLIT, k=number)) < tested[identity]
    return Split(np.flatnonzero(~test), np.flatnonzero(test))


def _test_count(count: np.ndarray, share: float) -> np.ndarray:
    return np.floor(share * count + 1e-9).astype(np.int64)


def check_uncloaked(identity: np.ndarray, share: float, uncloaked: int) -> None:
    """Raises ConfigError: a cloaking user would have no cloaked training photo."""
    count = np.bincount(identity)
    least = int((count - _test_count(count, share)).min())
    if uncloaked >= least:
        raise ConfigError(
            f"protocol.uncloaked_training_photos={uncloaked} leaves all {least} training photos of a user natural, so "
            "nothing is cloaked; lower it, or raise dataset.photos_per_person"
        )


def scenarios(
    identity: np.ndarray, train: np.ndarray, uncloaked: int, fraction: float, users: int | None, seed: int, number: int
) -> list[Scenario]:
    """The control in which nobody cloaks, then one scenario for each of the first ``users`` people.

    Args:
        identity: person of each photo (M,).
        train: training photos of split ``number`` (n,).
        uncloaked: training photos of each cloaking user that stay natural, the same in every scenario; see
            ``check_uncloaked``.
        fraction: share of the other people who cloak too.
        users: None for all.
        seed: draws the uncloaked photos and the other cloaking people.
        number: of the split.
    """
    labels = identity[train]
    people = int(identity.max()) + 1
    natural = np.zeros(len(identity), bool)
    natural[train] = _rank_in_group(labels, Draw(seed, Stream.UNCLOAKED_PHOTOS, k=number)) < uncloaked
    others = np.argsort(_chance(people, Draw(seed, Stream.OTHER_CLOAKING_USERS, k=number)), kind="stable")
    count = int(np.floor(fraction * (people - 1) + 0.5))
    found = [Scenario(None, np.zeros(len(train), bool))]
    for user in range(people)[:users]:
        cloaking = [user, *others[others != user][:count]]
        found.append(Scenario(user, np.isin(labels, cloaking) & ~natural[train]))
    return found


def published_cloaks(identity: np.ndarray, rounds: Iterable[tuple[Split, Sequence[Scenario]]]) -> np.ndarray:
    """Photos (M,) bool that their user publishes cloaked in a scenario of that user, in any split.

    The others are natural in every training that counts: photos that are only tested or stay uncloaked, and those of
    users without a scenario.
    """
    found = np.zeros(len(identity), bool)
    for part, played in rounds:
        for scenario in played:
            cloaked = part.train[scenario.cloaked]
            found[cloaked[identity[cloaked] == scenario.user]] = True
    return found


def _rank_in_group(group: np.ndarray, draw: Draw) -> np.ndarray:
    """The rank (n,) of each member in a random order of its own group."""
    order = np.lexsort((_chance(len(group), draw), group))
    ordered = group[order]
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    return rank


def _chance(count: int, draw: Draw) -> np.ndarray:
    return uniform(torch.arange(count), draw, (1,))[:, 0].numpy().astype(np.float64)
