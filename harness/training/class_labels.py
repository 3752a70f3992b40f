"""Class labels of faces, one class for each person."""

from __future__ import annotations

import numpy as np

from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSet


def class_labels(faces: FaceSet) -> np.ndarray:
    """The class label of each face, int64 (M,): people counted from 0 without gaps.

    Raises:
        FrbenchError: There are fewer than two people, a face has no name, or a person has no face.
    """
    known, number = np.unique(faces.identity, return_inverse=True)
    if len(known) < 2:
        raise ConfigError(f"{faces.name} has {len(known)} person; classification needs two or more")
    if known[0] < 0:
        raise ConfigError(f"{faces.name} has {int((faces.identity < 0).sum())} faces without a name")
    absent = np.setdiff1d(np.arange(len(faces.people)), known)
    if len(absent):
        raise ConfigError(
            f"{faces.name} names {len(faces.people)} people and has faces of {len(known)}: {faces.people[absent[0]]} "
            "has none; remove people without faces"
        )
    return number.reshape(-1).astype(np.int64)
