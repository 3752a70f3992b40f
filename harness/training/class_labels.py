"""Faces as classes to tell apart."""

from __future__ import annotations

import numpy as np

from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSet


def person_numbers(faces: FaceSet) -> np.ndarray:
    """int64 (M,): the person of each face, counted from 0 without gaps.

    Raises FrbenchError: fewer than two people; a face of nobody; a person of ``faces.people`` without a face.
    """
    known, number = np.unique(faces.identity, return_inverse=True)
    if len(known) < 2:
        raise ConfigError(f"{faces.name} shows {len(known)} person: there must be two or more to tell apart")
    if known[0] < 0:
        raise ConfigError(f"{faces.name} has {int((faces.identity < 0).sum())} faces of people it does not name")
    absent = np.setdiff1d(np.arange(len(faces.people)), known)
    if len(absent):
        raise ConfigError(
            f"{faces.name} names {len(faces.people)} people and shows {len(known)}: {faces.people[absent[0]]} has no "
            "face; leave people without faces out of the set"
        )
    return number.reshape(-1).astype(np.int64)
