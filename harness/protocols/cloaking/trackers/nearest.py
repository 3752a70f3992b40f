"""Nearest-neighbour tracker: the nearest training photo, by the cosine of a frozen recognizer, names the person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Embeddings
from frbench.harness.core.domains import PositiveInt
from frbench.harness.protocols.cloaking.trackers.base import Predictions, Scenario, SplitData, ranked


@dataclass(frozen=True)
class NearestNeighbour:
    """One nearest neighbour on unit vectors; people are ranked by the nearest of their photos.

    Similarities to all natural and all cloaked photos are computed once; a scenario changes only the people who have
    cloaked photos. The predictions equal those of a refit.

    Args:
        users: number of users to test; None for all.
    """

    identity = "tracker.nearest_neighbour"
    version = 1
    trainings_per_file: ClassVar[int] = 1000  # milliseconds each, after similarities that they share

    users: PositiveInt | None = None

    @torch.no_grad()
    def predict(self, split: SplitData, scenarios: Sequence[Scenario]) -> Iterator[Predictions]:
        photos = [np.flatnonzero(split.train_labels == person) for person in range(split.people)]
        natural, cloaked = split.tests @ split.natural.T, split.tests @ split.cloaked.T
        usual = torch.stack([natural[:, own].amax(dim=1) for own in photos], dim=1)
        known: dict[tuple[int, bytes], Tensor] = {}

        def nearest(person: int, is_cloaked: np.ndarray) -> Tensor:
            """Similarity (m,) of each test photo to the nearest photo of a person, some of whose photos are cloaked."""
            key = (person, is_cloaked.tobytes())
            if key not in known:
                own, mask = photos[person], torch.from_numpy(is_cloaked).to(natural.device)
                known[key] = torch.where(mask, cloaked[:, own], natural[:, own]).amax(dim=1)
            return known[key]

        for scenario in scenarios:
            scores = usual.clone()
            for person in np.unique(split.train_labels[scenario.cloaked]):
                scores[:, person] = nearest(int(person), scenario.cloaked[photos[person]])
            yield Predictions(ranked(scores), _train_correct(split, scenario))


def _train_correct(split: SplitData, scenario: Scenario) -> np.ndarray:
    """Whether the nearest photo of each own training photo is of the same user: itself, unless another equals it."""
    vectors: Embeddings = split.vectors(scenario)
    own = split.own_photos(scenario)
    exact = "donot_use_mm_for_euclid_dist"  # a matrix product cannot separate nearly equal photos
    nearest = torch.cdist(vectors[own], vectors, compute_mode=exact).argmin(dim=1).cpu().numpy()
    correct: np.ndarray = split.train_labels[nearest] == split.train_labels[own]
    return correct
