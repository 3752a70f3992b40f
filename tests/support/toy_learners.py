"""People that a very small network learns to tell apart within seconds, and that network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from frbench.harness.core.contracts import Artifact, FitContext, Recipe, Recognizer
from frbench.harness.core.face_data import FaceSet
from frbench.harness.recognizers.initialization import Architecture

SIDE = 24


def people(count: int = 12, shots: int = 10, seed: int = 0) -> FaceSet:
    """Filtered noise for each person, with fresh noise in each picture: uint8 (count * shots, 24, 24, 3)."""
    rng = np.random.default_rng(seed)
    looks = gaussian_filter(rng.normal(size=(count, 1, SIDE, SIDE, 3)), (0, 0, 2, 2, 0)) * 300
    fresh = gaussian_filter(rng.normal(size=(count, shots, SIDE, SIDE, 3)), (0, 0, 1, 1, 0)) * 150
    stack = (looks + fresh + 128).clip(0, 255).astype(np.uint8).reshape(-1, SIDE, SIDE, 3)
    names = tuple(f"person {number}" for number in range(count))
    return FaceSet("learnable", stack, np.repeat(np.arange(count), shots), names, f"learnable{count}-{shots}-{seed}")


class SmallNet(nn.Module):
    """(N, 3, 24, 24) -> (N, dim), with batch normalisation."""

    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.PReLU(8),
            nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.PReLU(16), nn.Flatten(),
        )  # fmt: skip
        self.end = nn.Linear(16 * 36, dim)
        self.bn = nn.BatchNorm1d(dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.end(self.body(x)))


def network(dim: int = 16) -> Architecture:
    return Architecture(partial(SmallNet, dim), size=SIDE)


def no_part(recipe: Recipe) -> Artifact:
    raise AssertionError("this recipe needs nothing else")


def lesson(
    faces: FaceSet,
    unfinished: Path,
    seed: int = 0,
    recognizer: Recognizer | None = None,
    part: Callable[[Recipe], Artifact] = no_part,
    cache: Path | None = None,
) -> FitContext:
    return FitContext(faces, recognizer, seed, torch.device("cpu"), part, unfinished, cache)
