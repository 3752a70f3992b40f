"""Predictions of trained trackers, kept in the store: an interrupted cell continues with its next training.

The training without cloaks depends on no attack, so all attacks share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.protocols.cloaking.photo_embeddings import PhotoEncoder, Photos
from frbench.harness.protocols.cloaking.splits import Split
from frbench.harness.protocols.cloaking.trackers.base import Predictions, Scenario, SplitData, Tracker


@dataclass(frozen=True)
class TrackerAnswers:
    """Trains ``tracker`` on photos, or finds what it predicted.

    Attributes:
        tracker: learns from the photos.
        encoder: the tracker's recognizer with its defense.
        photos: as users publish them; where nobody cloaks, the natural ones count.
    """

    tracker: Tracker
    encoder: PhotoEncoder
    photos: Photos

    def predict(self, data: SplitData, part: Split, scenarios: Sequence[Scenario]) -> Iterator[Predictions]:
        """The predictions for each scenario of the split ``part``, in order."""
        for block in _blocks(scenarios, self.tracker.trainings_per_file):
            yield from self._block(data, part, block)

    def _block(self, data: SplitData, part: Split, block: Sequence[Scenario]) -> Iterator[Predictions]:
        def make() -> dict[str, np.ndarray]:
            arrays: dict[str, np.ndarray] = {}
            for number, found in enumerate(self.tracker.predict(data, block)):
                arrays |= {f"{number}/ranked": found.ranked, f"{number}/train_correct": found.train_correct}
            return arrays

        arrays = self.encoder.execution.get_or_make("tracker", self._key(data, part, block), make).arrays
        for number in range(len(block)):
            yield Predictions(arrays[f"{number}/ranked"], arrays[f"{number}/train_correct"])

    def _key(self, data: SplitData, part: Split, block: Sequence[Scenario]) -> str:
        """What the predictions depend on."""
        encoder = self.encoder
        cloaks = self.photos.digest if any(each.cloaked.any() for each in block) else None
        photos = (encoder.natural.digest, cloaks, part.train, part.test, data.train_labels, data.test_labels)
        played = [(each.user, each.cloaked) for each in block]
        return fingerprint(self.tracker, encoder.recognizer, encoder.purifier, *photos, played, data.seed)


def _blocks(scenarios: Sequence[Scenario], size: int) -> Iterator[Sequence[Scenario]]:
    """Scenarios without cloaks one by one, the others in blocks of ``size``; in order."""
    first = 0
    while first < len(scenarios):
        count = size if scenarios[first].cloaked.any() else 1
        yield scenarios[first : first + count]
        first += count
