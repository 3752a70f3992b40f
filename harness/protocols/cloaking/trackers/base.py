"""The contract of trackers, which learn to identify people from photos that the people published, some of them cloaked.

A ``SplitData`` is one split of the photos, a ``Scenario`` says who cloaks, and a ``Tracker`` is trained for each
scenario and predicts the people of the test photos. Photos are numbered by their position in the split, people from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Embeddings, Images, Recognizer

TOP_K = 5  # people that a tracker predicts for a photo, the most probable first


@dataclass(frozen=True)
class Scenario:
    """Who cloaks in one training.

    Args:
        user: the cloaking user under test; None for the control in which nobody cloaks.
        cloaked: bool (n,), which training photos are cloaked. Those of other users may be, too.
    """

    user: int | None
    cloaked: np.ndarray


@dataclass(frozen=True)
class SplitData:
    """Training and test photos of one split.

    Args:
        train_labels: int64 (n,), person of each training photo; every person has training and test photos.
        test_labels: int64 (m,), person of each test photo.
        natural: embeddings (n, D) of the natural training photos after the tracker's defense.
        cloaked: embeddings (n, D) of the cloaked training photos after the tracker's defense.
        tests: embeddings (m, D) of the natural test photos, without the defense.
        training_images: the training photos (n, 3, H, W) of a scenario after the defense.
        test_images: the natural test photos (m, 3, H, W), without the defense.
        recognizer: of the tracker.
        seed: of this split.
    """

    train_labels: np.ndarray
    test_labels: np.ndarray
    natural: Embeddings
    cloaked: Embeddings
    tests: Embeddings
    training_images: Callable[[Scenario], Images]
    test_images: Callable[[], Images]
    recognizer: Recognizer
    seed: int

    @property
    def people(self) -> int:
        return int(self.train_labels.max()) + 1

    def vectors(self, scenario: Scenario) -> Embeddings:
        """Embeddings (n, D) of the training photos of ``scenario``."""
        cloaked = torch.from_numpy(scenario.cloaked).to(self.natural.device)
        return torch.where(cloaked[:, None], self.cloaked, self.natural)

    def own_photos(self, scenario: Scenario) -> np.ndarray:
        """Training photos of the cloaking user, or of everybody in the control: int64 (k,)."""
        if scenario.user is None:
            return np.arange(len(self.train_labels))
        return np.flatnonzero(self.train_labels == scenario.user)


@dataclass(frozen=True)
class Predictions:
    """What a trained tracker predicts.

    Args:
        ranked: int64 (m, s), people predicted for each test photo, the most probable first; s is 5, or the number of
            people where it is smaller.
        train_correct: bool (k,), whether each training photo of ``SplitData.own_photos`` is identified correctly.
    """

    ranked: np.ndarray
    train_correct: np.ndarray


class Tracker(Protocol):
    """An identifier that is trained on published photos.

    ``users``: only the first so many users are tested, because each needs a training of its own; None for all.
    ``trainings_per_file``: trainings whose predictions share a file of the cache; 1 where a training takes minutes.
    ``predict`` trains from the same start for each scenario, so that no scenario depends on another.
    """

    trainings_per_file: ClassVar[int]

    @property
    def users(self) -> int | None: ...

    def predict(self, split: SplitData, scenarios: Sequence[Scenario]) -> Iterator[Predictions]:
        """The predictions for each scenario, in order."""
        ...


def ranked(scores: Tensor) -> np.ndarray:
    """The ``TOP_K`` people int64 (m, s) by descending ``scores`` (m, people); ties keep the order of the people."""
    order = scores.sort(dim=1, descending=True, stable=True).indices
    return order[:, :TOP_K].cpu().numpy()
