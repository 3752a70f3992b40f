"""Finds the preprocessing of a recognizer by comparing the usual ones on clean pairs.

With wrong preprocessing a network still computes embeddings, but attacks on it are meaningless. Most weight files do
not state the preprocessing; the right one separates people best. The search uses up to 200 pairs of the test set to
choose among a dozen candidates, so the choice and its data belong in the record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frbench.harness.core.contracts import Images, Recognizer
from frbench.harness.core.face_data import PairSet
from frbench.harness.metrics.thresholds import best_threshold
from frbench.harness.recognizers.preprocessing import Preprocessing
from frbench.harness.runtime.progress import over

# Per RGB channel. VGGFace2: mean of its authors' Caffe models. ImageNet: torchvision.
_VGGFACE2 = [131.0912, 103.8827, 91.4953]
_IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
_RANGES: tuple[Mapping[str, Any], ...] = (
    {"mean": 127.5, "std": 127.5, "scale": 255.0},  # [-1, 1]
    {"mean": 0.0, "std": 1.0, "scale": 255.0},  # gray levels, for networks that scale them
    {"mean": 0.0, "std": 1.0, "scale": 1.0},  # [0, 1]
    {**_IMAGENET, "scale": 1.0},
    {"mean": 0.5, "std": 1.0, "scale": 1.0},  # [-0.5, 0.5]
    {"mean": _VGGFACE2, "std": 1.0, "scale": 255.0},
)
CANDIDATES: tuple[Mapping[str, Any], ...] = tuple({**each, "bgr": bgr} for each in _RANGES for bgr in (False, True))
IDENTITY: Mapping[str, Any] = {"mean": 0.0, "std": 1.0, "scale": 1.0, "bgr": False}  # images in [0, 1], unchanged

PAIRS = 200  # that compare the best candidates
_FIRST_PAIRS, _BEST = 40, 3  # pairs that compare all candidates, and the number of best candidates


@dataclass(frozen=True)
class Trial:
    """How well a recognizer separates people with one preprocessing.

    Attributes:
        preprocessing: ``mean``, ``std``, ``scale`` and ``bgr``.
        accuracy: at the best threshold of the same pairs.
        separation: difference of the mean scores of genuine and impostor pairs in standard deviations (d'). It
            distinguishes candidates of equal accuracy.
    """

    preprocessing: Mapping[str, Any]
    pairs: int
    accuracy: float
    separation: float


def search(recognizer: Recognizer, pairs: PairSet, batch_size: int, device: torch.device) -> list[Trial]:
    """All candidates, the best first; the best few are compared on more pairs than the others.

    Args:
        recognizer: with the preprocessing ``IDENTITY``.
    """
    first = list(_trials(recognizer, pairs, sample(pairs, _FIRST_PAIRS), CANDIDATES, batch_size, device))
    first.sort(key=lambda trial: -trial.separation)
    best = [trial.preprocessing for trial in first[:_BEST]]
    last = list(_trials(recognizer, pairs, sample(pairs, PAIRS), best, batch_size, device))
    return [*sorted(last, key=lambda trial: -trial.separation), *first[_BEST:]]


def sample(pairs: PairSet, count: int) -> np.ndarray:
    """Numbers of at most ``count`` pairs, half of them genuine, spread evenly over the dataset."""
    kinds = (np.flatnonzero(pairs.same), np.flatnonzero(~pairs.same))
    half = min(count // 2, *map(len, kinds))
    return np.sort(np.concatenate([kind[np.linspace(0, len(kind) - 1, half).round().astype(int)] for kind in kinds]))


@torch.no_grad()
def _trials(
    recognizer: Recognizer,
    pairs: PairSet,
    chosen: np.ndarray,
    candidates: Sequence[Mapping[str, Any]],
    batch_size: int,
    device: torch.device,
) -> Iterator[Trial]:
    rows, back = np.unique(np.concatenate([pairs.probe[chosen], pairs.reference[chosen]]), return_inverse=True)
    images = pairs.load(rows)
    same = pairs.same[chosen]
    for candidate in over(candidates, "preprocessing", "candidates", 1):
        preprocess = Preprocessing(**candidate, size=(images.shape[2], images.shape[3]))
        vectors = _embeddings(recognizer, preprocess, images, batch_size, device)[torch.from_numpy(back)]
        scores = (vectors[: len(chosen)] * vectors[len(chosen) :]).sum(dim=1).double().numpy()
        yield Trial(candidate, len(chosen), _accuracy(scores, same), _separation(scores, same))


def _embeddings(
    recognizer: Recognizer, preprocess: Preprocessing, images: Images, batch_size: int, device: torch.device
) -> Tensor:
    return torch.cat([recognizer.embed(preprocess(part.to(device))).cpu() for part in images.split(batch_size)])


def _accuracy(scores: np.ndarray, same: np.ndarray) -> float:
    if not np.isfinite(scores).all():
        return 0.0
    return float(((scores > best_threshold(scores, same)) == same).mean())


def _separation(scores: np.ndarray, same: np.ndarray) -> float:
    genuine, impostor = scores[same], scores[~same]
    spread = np.sqrt((genuine.var() + impostor.var()) / 2)
    return float((genuine.mean() - impostor.mean()) / spread) if np.isfinite(spread) and spread > 0 else 0.0
