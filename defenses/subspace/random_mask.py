"""A random choice of eigenfaces, as many as a network keeps: what PIN and AIS must beat (specs/pin_ais 11.9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from frbench.defenses.components.purifier import FittedPurifierDefense
from frbench.defenses.subspace.eigenfaces import Eigenfaces, Eigenspace, colour, gray
from frbench.harness.core.contracts import Draw, Fitted, Images
from frbench.harness.core.counter_rng import uniform
from frbench.harness.core.domains import Components, PositiveInt
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSource
from frbench.harness.core.verifiers import Purifier, Sides


@dataclass(frozen=True)
class RandomlyKept:
    """Gray, projected on ``kept`` eigenfaces drawn without replacement per pair and draw, copied to three channels."""

    identity = "purifier.random_mask"
    version = 1

    artifact: Fitted
    kept: int

    differentiable = True
    unclamped = True
    random = True

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return self.seen(images, index)(draw)

    def seen(self, images: Images, index: Tensor) -> Callable[[Draw], Images]:
        """The images purified by any draw, with one look at their coefficients."""
        space = Eigenspace.of(self.artifact.tensors, images.device)
        coefficients = space.coefficients(gray(images))
        return lambda draw: colour(space.faces(coefficients * self._mask(coefficients, index, draw)), images)

    def _mask(self, coefficients: Tensor, index: Tensor, draw: Draw) -> Tensor:
        noise = uniform(index, draw, (coefficients.shape[1],))
        chosen = noise.argsort(dim=1, stable=True)[:, : self.kept]
        return torch.zeros_like(coefficients).scatter_(1, chosen, 1)


@dataclass(frozen=True)
class RandomMaskDefense(FittedPurifierDefense):
    """``kept`` of ``components`` eigenfaces of ``faces``; probe and reference of a pair see different draws."""

    identity = "defense.random_mask"
    version = 1

    faces: FaceSource = field(compare=False)  # known by the digest of what it opens to, not by its paths
    components: Components = 800
    kept: PositiveInt = 400
    purify: Sides = "both"
    artifact: Fitted | None = field(default=None, repr=False)

    option: ClassVar[str] = "random_mask"

    @property
    def recipe(self) -> Eigenfaces:
        return Eigenfaces(self.components)

    def check_combination(self, where: str) -> None:
        if self.kept > self.components:
            raise ConfigError(
                f"{where}.kept={self.kept} is above {where}.components={self.components}: keep at most as many "
                "eigenfaces as there are"
            )

    def purifier(self) -> RandomlyKept:
        """Raises FrbenchError: not fitted."""
        return RandomlyKept(self.ready, self.kept)

    def stand_ins(self) -> Mapping[str, Purifier]:
        return {"direct": self.purifier()}
