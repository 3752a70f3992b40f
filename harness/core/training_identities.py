"""Training identities stored in a weight file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Protocol, cast

import numpy as np

PEOPLE = "people"  # the tensor of a trained file that stores them


def people_digests(people: Iterable[str]) -> np.ndarray:
    """int64 (n,): digests of the names of people, as stored in a trained file."""
    digests = [hashlib.blake2b(each.encode(), digest_size=8).digest() for each in people]
    return np.array([int.from_bytes(each, signed=True) for each in digests], np.int64)


class HasTrainingIdentities(Protocol):
    """A model that states ``people_digests`` of its training identities."""

    @property
    def trained_on(self) -> np.ndarray: ...


def training_identities(model: object) -> np.ndarray:
    """int64 (n,): ``people_digests`` of a recognizer's or defense's training identities; empty where it states none."""
    if not hasattr(type(model), "trained_on"):  # isinstance would evaluate properties, which read files
        return np.zeros(0, np.int64)
    return cast(HasTrainingIdentities, model).trained_on
