"""The nearest training photo names the person: a frozen recognizer and the cosine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Embeddings
from frbench.harness.core.domains import PositiveInt
from frbench.harness.protocols.cloaking.trackers.base import Answer, Scene, Stage, ranked


@dataclass(frozen=True)
class NearestNeighbour:
    """One nearest neighbour over unit vectors. A person ranks by the nearest of his or her photos.

    Similarities to all natural and to all cloaked photos are worked out once; a scene changes those people alone of
    whom some photo is cloaked. The answers are those of a refit.
    """

    identity = "tracker.nearest_neighbour"
    version = 1

    users: PositiveInt | None = None

    @torch.no_grad()
    def answers(self, stage: Stage, scenes: Sequence[Scene]) -> Iterator[Answer]:
        shelves = [np.flatnonzero(stage.labels == person) for person in range(stage.people)]
        natural, cloaked = stage.tests @ stage.natural.T, stage.tests @ stage.cloaked.T
        usual = torch.stack([natural[:, shelf].amax(dim=1) for shelf in shelves], dim=1)
        known: dict[tuple[int, bytes], Tensor] = {}

        def closest(person: int, worn: np.ndarray) -> Tensor:
            """Similarity (m,) of each test photo to the nearest of a person's photos, cloaked where ``worn``."""
            key = (person, worn.tobytes())
            if key not in known:
                shelf, mask = shelves[person], torch.from_numpy(worn).to(natural.device)
                known[key] = torch.where(mask, cloaked[:, shelf], natural[:, shelf]).amax(dim=1)
            return known[key]

        for scene in scenes:
            scores = usual.clone()
            for person in np.unique(stage.labels[scene.cloaked]):
                scores[:, person] = closest(int(person), scene.cloaked[shelves[person]])
            yield Answer(ranked(scores), _learnt(stage, scene))


def _learnt(stage: Stage, scene: Scene) -> np.ndarray:
    """Whether each training photo of the user is nearest to one of the user's: itself, unless another is the same."""
    vectors: Embeddings = stage.vectors(scene)
    own = stage.own(scene)
    exact = "donot_use_mm_for_euclid_dist"  # a product puts photos that are nearly alike at the same place
    nearest = torch.cdist(vectors[own], vectors, compute_mode=exact).argmin(dim=1).cpu().numpy()
    found: np.ndarray = stage.labels[nearest] == stage.labels[own]
    return found
