"""Trackers: who trains an identifier on photos that people published, some of them cloaked.

A ``Stage`` is one split of the photos; a ``Scene`` says who cloaks in it; a ``Tracker`` learns from each scene and
names the test photos. Photos are numbered by their place in the split, people from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Embeddings, Images, Recognizer

SHOWN = 5  # names that a tracker gives for a photo, likeliest first


@dataclass(frozen=True)
class Scene:
    """``user``: whose turn it is, None for the control in which nobody cloaks; ``cloaked``: bool (n,), training photos.

    Photos of other users may be cloaked too.
    """

    user: int | None
    cloaked: np.ndarray


@dataclass(frozen=True)
class Stage:
    """What a tracker has in one split.

    labels, answers:  int64 (n,) and (m,), the person of each training and of each test photo; every person has both.
    natural, cloaked: embeddings (n, D) of the training photos behind the defense, uncloaked and cloaked.
    tests:            embeddings (m, D) of the test photos, natural and never behind the defense.
    training_images:  the training photos (n, 3, H, W) of a scene behind the defense, for who trains on pixels.
    test_images:      the test photos (m, 3, H, W), likewise as ``tests``.
    seed:             of this split.
    """

    labels: np.ndarray
    answers: np.ndarray
    natural: Embeddings
    cloaked: Embeddings
    tests: Embeddings
    training_images: Callable[[Scene], Images]
    test_images: Callable[[], Images]
    recognizer: Recognizer
    seed: int

    @property
    def people(self) -> int:
        return int(self.labels.max()) + 1

    def vectors(self, scene: Scene) -> Embeddings:
        """Embeddings (n, D) of the training photos of ``scene``."""
        cloaked = torch.from_numpy(scene.cloaked).to(self.natural.device)
        return torch.where(cloaked[:, None], self.cloaked, self.natural)

    def own(self, scene: Scene) -> np.ndarray:
        """Training photos of the scene's user, of everybody where it is nobody's turn: int64 (k,)."""
        return np.arange(len(self.labels)) if scene.user is None else np.flatnonzero(self.labels == scene.user)


@dataclass(frozen=True)
class Answer:
    """ranked: int64 (m, s), people named for each test photo, likeliest first; s is 5, or all where there are fewer.

    learnt: bool (k,), whether each training photo that ``Stage.own`` lists is named right.
    """

    ranked: np.ndarray
    learnt: np.ndarray


class Tracker(Protocol):
    """``users``: how many users take their turn, the first so many, because training is dear; None for all.

    ``answers`` gives one answer for each scene, in their order, and trains anew for each: no scene sees another.
    """

    @property
    def users(self) -> int | None: ...

    def answers(self, stage: Stage, scenes: Sequence[Scene]) -> Iterator[Answer]: ...


def ranked(scores: Tensor) -> np.ndarray:
    """People int64 (m, s) by falling scores (m, people); of equal ones the first comes first."""
    order = scores.sort(dim=1, descending=True, stable=True).indices
    return order[:, :SHOWN].cpu().numpy()
