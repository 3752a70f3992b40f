"""Which preprocessing a recognizer was trained with, found by trying the usual ones on clean pairs.

A network that is fed wrongly still gives vectors, and attacks on it mean nothing. Nothing in most files says how the
network wants to be fed, but the right way tells people apart best. Pairs of the test set are used, a few hundred of
them, to choose one of a dozen ways: what was chosen, and on what, belongs into the record.
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

# Per RGB channel. VGGFace2's mean is that of its authors' Caffe models, ImageNet's that of torchvision's.
_VGGFACE2 = [131.0912, 103.8827, 91.4953]
_IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
_RANGES: tuple[Mapping[str, Any], ...] = (
    {"mean": 127.5, "std": 127.5, "scale": 255.0},  # [-1, 1]
    {"mean": 0.0, "std": 1.0, "scale": 255.0},  # gray levels: the scaling is inside the network
    {"mean": 0.0, "std": 1.0, "scale": 1.0},  # [0, 1]
    {**_IMAGENET, "scale": 1.0},
    {"mean": 0.5, "std": 1.0, "scale": 1.0},  # [-0.5, 0.5]
    {"mean": _VGGFACE2, "std": 1.0, "scale": 255.0},
)
USUAL: tuple[Mapping[str, Any], ...] = tuple({**each, "bgr": bgr} for each in _RANGES for bgr in (False, True))
UNFED: Mapping[str, Any] = {"mean": 0.0, "std": 1.0, "scale": 1.0, "bgr": False}  # images in [0, 1] as they are

PAIRS = 200  # that the last ways are compared on
_FIRST, _KEPT = 40, 3  # pairs that all ways are tried on, and how many of them go on


@dataclass(frozen=True)
class Trial:
    """One way to feed a recognizer, and how well it tells people apart then.

    fed: ``mean``, ``std``, ``scale`` and ``bgr``. accuracy: at the best threshold of these very pairs. separation:
    mean score of genuine minus impostor pairs, in standard deviations (d'), which tells ways apart where all or none
    of few pairs are right.
    """

    fed: Mapping[str, Any]
    pairs: int
    accuracy: float
    separation: float


def search(unfed: Recognizer, pairs: PairSet, batch_size: int, device: torch.device) -> list[Trial]:
    """All usual ways, the best first; the first few are compared on more pairs than the others.

    unfed: the recognizer with the preprocessing ``UNFED``.
    """
    first = list(_tried(unfed, pairs, sample(pairs, _FIRST), USUAL, batch_size, device))
    first.sort(key=lambda trial: -trial.separation)
    kept = [trial.fed for trial in first[:_KEPT]]
    last = list(_tried(unfed, pairs, sample(pairs, PAIRS), kept, batch_size, device))
    return [*sorted(last, key=lambda trial: -trial.separation), *first[_KEPT:]]


def sample(pairs: PairSet, count: int) -> np.ndarray:
    """Numbers of ``count`` pairs at most, half of them genuine, spread evenly over the set."""
    kinds = (np.flatnonzero(pairs.same), np.flatnonzero(~pairs.same))
    half = min(count // 2, *map(len, kinds))
    return np.sort(np.concatenate([kind[np.linspace(0, len(kind) - 1, half).round().astype(int)] for kind in kinds]))


@torch.no_grad()
def _tried(
    unfed: Recognizer,
    pairs: PairSet,
    chosen: np.ndarray,
    ways: Sequence[Mapping[str, Any]],
    batch_size: int,
    device: torch.device,
) -> Iterator[Trial]:
    rows, back = np.unique(np.concatenate([pairs.probe[chosen], pairs.reference[chosen]]), return_inverse=True)
    images = pairs.load(rows)
    same = pairs.same[chosen]
    for fed in over(ways, "preprocessing", "ways", 1):
        way = Preprocessing(**fed, size=(images.shape[2], images.shape[3]))
        vectors = _vectors(unfed, way, images, batch_size, device)[torch.from_numpy(back)]
        scores = (vectors[: len(chosen)] * vectors[len(chosen) :]).sum(dim=1).double().numpy()
        yield Trial(fed, len(chosen), _accuracy(scores, same), _separation(scores, same))


def _vectors(unfed: Recognizer, way: Preprocessing, images: Images, batch_size: int, device: torch.device) -> Tensor:
    return torch.cat([unfed.embed(way(part.to(device))).cpu() for part in images.split(batch_size)])


def _accuracy(scores: np.ndarray, same: np.ndarray) -> float:
    if not np.isfinite(scores).all():
        return 0.0
    return float(((scores > best_threshold(scores, same)) == same).mean())


def _separation(scores: np.ndarray, same: np.ndarray) -> float:
    genuine, impostor = scores[same], scores[~same]
    spread = np.sqrt((genuine.var() + impostor.var()) / 2)
    return float((genuine.mean() - impostor.mean()) / spread) if np.isfinite(spread) and spread > 0 else 0.0
