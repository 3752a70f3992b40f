"""Checks that the training faces of a defense or recognizer share no people or images with the test set."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSet, TestSet
from frbench.harness.core.flags import Flag
from frbench.harness.core.training_identities import people_digests, training_identities
from frbench.harness.runtime.progress import over

_BLOCK = 1024  # images in memory at a time


def overlap_flags(faces: FaceSet, data: TestSet, allowed: bool) -> list[Flag]:
    """A flag where the training faces and the test set ``data`` share people or images.

    People are compared by name, or by number within one source. A person with different names is not detected.

    Raises:
        ConfigError: they overlap and overlap is not allowed.
    """
    people = sorted(set(faces.people) & set(data.people))
    images = len(np.intersect1d(_digests(faces), _digests(data)))
    if not people and not images:
        return []
    if allowed:
        return [Flag.OVERLAPPING_IDENTITIES]
    example = f", such as {people[0]}" if people else ""
    raise ConfigError(
        f"the training faces {faces.name} share {len(people)} people{example} and {images} images with the test set "
        f"{data.name}; fit on other people (identities=...), or set allow_overlap=true, which flags the record"
    )


def trained_flags(part: object, name: str, data: TestSet, allowed: bool) -> list[Flag]:
    """As ``overlap_flags`` for a trained recognizer or defense, by people only. name: of the part, for the error."""
    shared = int(np.isin(people_digests(data.people), training_identities(part)).sum())
    if not shared:
        return []
    if allowed:
        return [Flag.OVERLAPPING_IDENTITIES]
    raise ConfigError(
        f"{name} was trained on {shared} of the {len(data.people)} people of the test set {data.name}; "
        "take another dataset, or set allow_overlap=true, which flags the record"
    )


def _digests(data: FaceSet | TestSet) -> np.ndarray:
    return _image_digests(_HashableImages(data))


class _HashableImages:
    """The images of a dataset, hashed by its digest, so that each dataset is read once per process."""

    def __init__(self, data: FaceSet | TestSet) -> None:
        self.images, self.name, self.digest = data.images, data.name, data.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _HashableImages) and other.digest == self.digest


@lru_cache(maxsize=4)
def _image_digests(data: _HashableImages) -> np.ndarray:
    """uint64 (M,), the first eight bytes of a digest per image, so that millions fit into memory."""
    digests = np.empty(len(data.images), np.uint64)
    for start in over(range(0, len(digests), _BLOCK), f"digests of {data.name}", "images", _BLOCK):
        for number, image in enumerate(data.images[start : start + _BLOCK], start):
            digests[number] = int.from_bytes(hashlib.blake2b(image.tobytes(), digest_size=8).digest())
    return digests
