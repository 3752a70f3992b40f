"""Whether a defense was fitted on the people or on the very images that it is tested on."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSet, TestSet
from frbench.harness.core.flags import Flag
from frbench.harness.core.training_identities import known_people, people_digests
from frbench.harness.runtime.progress import over

_BLOCK = 1024  # images at hand at a time


def overlap_flags(faces: FaceSet, data: TestSet, allowed: bool) -> list[Flag]:
    """The flag where ``faces`` and the test set ``data`` share people or images and that is ``allowed``; else nothing.

    People are compared by name, or by number within a source; that somebody has another name elsewhere is not seen.
    Raises FrbenchError: they share some and that is not allowed.
    """
    people = sorted(set(faces.people) & set(data.people))
    images = len(np.intersect1d(_digests(faces), _digests(data)))
    if not people and not images:
        return []
    if allowed:
        return [Flag.OVERLAPPING_IDENTITIES]
    example = f", such as {people[0]}" if people else ""
    raise ConfigError(
        f"{faces.name}, the faces to fit on, shares {len(people)} people{example} and {images} images "
        f"with the test set {data.name}; fit on other people (identities=...), or set allow_overlap=true, "
        "which marks the record"
    )


def trained_flags(whatever: object, name: str, data: TestSet, allowed: bool) -> list[Flag]:
    """As ``overlap_flags`` for the ``known_people`` of a recognizer or defense called ``name``; by people alone."""
    shared = int(np.isin(people_digests(data.people), known_people(whatever)).sum())
    if not shared:
        return []
    if allowed:
        return [Flag.OVERLAPPING_IDENTITIES]
    raise ConfigError(
        f"{name} was trained on {shared} of the {len(data.people)} people of the test set {data.name}; "
        "take another data set, or set allow_overlap=true, which marks the record"
    )


def _digests(data: FaceSet | TestSet) -> np.ndarray:
    return _of_images(_Known(data))


class _Known:
    """Images known by the digest of their set, so that they are read once in a process."""

    def __init__(self, data: FaceSet | TestSet) -> None:
        self.images, self.name, self.digest = data.images, data.name, data.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and other.digest == self.digest


@lru_cache(maxsize=4)
def _of_images(known: _Known) -> np.ndarray:
    """Eight bytes an image, so that those of millions fit; a few at a time are at hand."""
    found = np.empty(len(known.images), np.uint64)
    for start in over(range(0, len(found), _BLOCK), f"{known.name}, looked through", "images", _BLOCK):
        for number, image in enumerate(known.images[start : start + _BLOCK], start):
            found[number] = int.from_bytes(hashlib.blake2b(image.tobytes(), digest_size=8).digest())
    return found
