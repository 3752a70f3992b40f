"""Whom a network was trained on, as its file keeps it. It imports nothing of ours, so recognizers keep their names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Protocol, cast

import numpy as np

PEOPLE = "people"  # the entry of a trained file


def people_digests(people: Iterable[str]) -> np.ndarray:
    """int64 (n,): what a trained file keeps of those whom it was trained on."""
    digests = [hashlib.blake2b(each.encode(), digest_size=8).digest() for each in people]
    return np.array([int.from_bytes(each, signed=True) for each in digests], np.int64)


class HasTrainingIdentities(Protocol):
    """Keeps ``people_digests`` of whom it was trained on."""

    @property
    def trained_on(self) -> np.ndarray: ...


def training_identities(whatever: object) -> np.ndarray:
    """int64 (n,): ``people_digests`` of whom a recognizer or defense says that it was ``trained_on``, if it does."""
    if not hasattr(type(whatever), "trained_on"):  # isinstance would look at every property, and for files
        return np.zeros(0, np.int64)
    return cast(HasTrainingIdentities, whatever).trained_on
