"""Projection on randomly selected eigenfaces, a baseline of PIN and AIS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from frbench.defenses.components.purifier import FittedPurifierDefense
from frbench.defenses.subspace.eigenfaces import Eigenfaces, Eigenspace, gray, to_rgb
from frbench.harness.core.contracts import Draw, Fitted, Images
from frbench.harness.core.counter_rng import uniform
from frbench.harness.core.domains import Components, PositiveInt
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSource
from frbench.harness.core.purifiers import Purifier, Sides


@dataclass(frozen=True)
class RandomProjection:
    """Project the gray face on ``kept`` eigenfaces, drawn without replacement for each pair and draw."""

    identity = "purifier.random_mask"
    version = 1

    artifact: Fitted
    kept: int

    differentiable = True
    unclamped = True
    random = True

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return self.purify_once(images, index)(draw)

    def purify_once(self, images: Images, index: Tensor) -> Callable[[Draw], Images]:
        """Compute the coefficients once; the result maps a draw to purified images."""
        space = Eigenspace.of(self.artifact.tensors, images.device)
        coefficients = space.coefficients(gray(images))
        return lambda draw: to_rgb(space.faces(coefficients * self._mask(coefficients, index, draw)), images)

    def _mask(self, coefficients: Tensor, index: Tensor, draw: Draw) -> Tensor:
        noise = uniform(index, draw, (coefficients.shape[1],))
        selected = noise.argsort(dim=1, stable=True)[:, : self.kept]
        return torch.zeros_like(coefficients).scatter_(1, selected, 1)


@dataclass(frozen=True)
class RandomMaskDefense(FittedPurifierDefense):
    """Projection on a random subset of eigenfaces; probe and reference of a pair use different draws.

    Attributes:
        faces: faces of people outside the test set.
        components: number of eigenfaces to select from.
        kept: number of selected eigenfaces.
    """

    identity = "defense.random_mask"
    version = 1

    faces: FaceSource = field(compare=False)  # identified by the digest of its images, not by paths
    components: Components = 1500
    kept: PositiveInt = 1087
    apply_to: Sides = "both"
    artifact: Fitted | None = field(default=None, repr=False)

    option: ClassVar[str] = "random_mask"

    @property
    def recipe(self) -> Eigenfaces:
        return Eigenfaces(self.components)

    def check_combination(self, where: str) -> None:
        if self.kept > self.components:
            raise ConfigError(
                f"{where}.kept={self.kept} is above {where}.components={self.components}; set {where}.kept to at most "
                f"{self.components}"
            )

    def purifier(self) -> RandomProjection:
        """The purifier; raises FrbenchError if the defense is not fitted."""
        return RandomProjection(self.ready, self.kept)

    def differentiable_purifiers(self) -> Mapping[str, Purifier]:
        return {"direct": self.purifier()}
