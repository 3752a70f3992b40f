"""Do a recognizer's embeddings tell users apart? Their natural photos as pairs to verify, before anybody cloaks."""

from __future__ import annotations

import numpy as np
import torch

from frbench.harness.core.errors import warn_once
from frbench.harness.core.flags import Flag
from frbench.harness.core.verifiers import cosine
from frbench.harness.evaluation.cell import Cell
from frbench.harness.metrics.thresholds import best_threshold
from frbench.harness.protocols.cloaking.photo_embeddings import Enrolment
from frbench.harness.recognizers.accuracy_check import check_clean_accuracy


def preflight(cell: Cell, bare: Enrolment) -> list[Flag]:
    """The flag of a recognizer that verifies the natural photos badly.

    bare: the recognizer without its defense. Raises FrbenchError: it is below its floor, and nobody allowed that.
    """
    users = cell.users.identity
    accuracy = pair_accuracy(users, bare.seen(bare.natural).vectors.cpu())
    names = cell.names["recognizer"], cell.names["dataset"]
    warning = check_clean_accuracy(names[0], accuracy * 100, names[1], cell.floors, cell.allow_low_accuracy)
    if warning is None:
        return []
    warn_once(warning)
    return [Flag.LOW_CLEAN_ACCURACY]


def pair_accuracy(users: np.ndarray, vectors: torch.Tensor) -> float:
    """Accuracy at the best threshold of as many genuine as impostor pairs.

    users (M,) and unit vectors (M, D): each photo makes a genuine pair with the next one of its user, and an impostor
    pair with the first one of the next user.
    """
    order = np.argsort(users, kind="stable")
    users, vectors = users[order], vectors[torch.from_numpy(order)]
    photo, end = np.arange(len(users)), np.searchsorted(users, users, side="right")
    following = np.where(photo + 1 < end, photo + 1, np.searchsorted(users, users))
    several = following != photo  # somebody's only photo makes no genuine pair
    probes = np.concatenate([photo[several], photo[several]])
    others = np.concatenate([following[several], end[several] % len(users)])
    same = users[probes] == users[others]
    scores = cosine(vectors[torch.from_numpy(probes)], vectors[torch.from_numpy(others)]).double().numpy()
    return float(((scores > best_threshold(scores, same)) == same).mean())
