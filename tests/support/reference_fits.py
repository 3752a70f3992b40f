"""Faces to fit on and the context of a fit, made by hand, for the tests of what is fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from frbench.defenses.subspace.eigenfaces import Eigenfaces
from frbench.defenses.subspace.networks import PinNetwork
from frbench.defenses.subspace.pin import PinRecipe
from frbench.harness.core.contracts import Artifact, FitContext, Recipe
from frbench.harness.core.face_data import FaceSet

CPU = torch.device("cpu")
SIDE = 32  # of the faces that ``SmallPin`` takes


@dataclass(frozen=True)
class SmallPin(PinRecipe):
    """PIN for faces of 32x32 pixels."""

    def network(self) -> PinNetwork:
        return PinNetwork(self.width, self.hidden, self.denoiser.width, self.components, SIDE)


def faces(count: int, size: int, seed: int = 0) -> FaceSet:
    """Filtered noise, uint8 (count, size, size, 3), each its own person."""
    rng = np.random.default_rng(seed)
    images = gaussian_filter(rng.normal(size=(count, size, size, 3)), (0, 2, 2, 0)) * 200 + 128
    stack = images.clip(0, 255).astype(np.uint8)
    return FaceSet("toy", stack, np.arange(count), tuple(map(str, range(count))), f"toy{count}{size}{seed}")


def no_part(recipe: Recipe) -> Artifact:
    raise AssertionError("this recipe needs nothing else")


def context(
    people: FaceSet,
    unfinished: Path = Path("unused"),
    seed: int = 0,
    part: Callable[[Recipe], Artifact] = no_part,
) -> FitContext:
    return FitContext(people, None, seed, CPU, part, unfinished)


def eigenfaces(people: FaceSet, components: int) -> Artifact:
    return Eigenfaces(components).fit(context(people))
