"""Verification accuracy of a recognizer on pairs of the users' natural photos, before anybody cloaks."""

from __future__ import annotations

import numpy as np
import torch

from frbench.harness.core.errors import warn_once
from frbench.harness.core.flags import Flag
from frbench.harness.core.verifiers import cosine
from frbench.harness.evaluation.cell import Cell
from frbench.harness.metrics.thresholds import best_threshold
from frbench.harness.protocols.cloaking.photo_embeddings import PhotoEncoder
from frbench.harness.recognizers.accuracy_check import check_clean_accuracy


def accuracy_flags(cell: Cell, bare: PhotoEncoder) -> list[Flag]:
    """The flag of a recognizer with low accuracy on the natural photos, where the cell allows it.

    Args:
        cell: of the users; ``allow_low_accuracy`` turns the error into the flag.
        bare: the recognizer without the defense.

    Raises FrbenchError: the accuracy is below the recognizer's minimum.
    """
    accuracy = pair_accuracy(cell.users.identity, bare.embeddings(bare.natural).vectors.cpu())
    names = cell.names["recognizer"], cell.names["dataset"]
    warning = check_clean_accuracy(names[0], accuracy * 100, names[1], cell.floors, cell.allow_low_accuracy)
    if warning is None:
        return []
    warn_once(warning)
    return [Flag.LOW_CLEAN_ACCURACY]


def pair_accuracy(users: np.ndarray, vectors: torch.Tensor) -> float:
    """Accuracy at the best threshold of an equal number of genuine and impostor pairs.

    Each photo forms a genuine pair with the next photo of its user and an impostor pair with the first photo of the
    next user.

    Args:
        users: user of each photo (M,).
        vectors: unit embeddings (M, D).
    """
    order = np.argsort(users, kind="stable")
    users, vectors = users[order], vectors[torch.from_numpy(order)]
    photo, end = np.arange(len(users)), np.searchsorted(users, users, side="right")
    following = np.where(photo + 1 < end, photo + 1, np.searchsorted(users, users))
    several = following != photo  # a single photo forms no genuine pair
    probes = np.concatenate([photo[several], photo[several]])
    others = np.concatenate([following[several], end[several] % len(users)])
    same = users[probes] == users[others]
    scores = cosine(vectors[torch.from_numpy(probes)], vectors[torch.from_numpy(others)]).double().numpy()
    return float(((scores > best_threshold(scores, same)) == same).mean())
