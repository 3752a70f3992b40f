"""Gaussian low-pass filter with the energy loss of a PCA projection, a baseline without a learned subspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import ClassVar

import torch
from scipy.optimize import brentq
from torch import Tensor

from frbench.defenses.components.gaussian import gaussian_blur
from frbench.defenses.components.purifier import FittedPurifierDefense
from frbench.defenses.subspace.eigenfaces import Eigenfaces, Eigenspace, chunks, gray, to_rgb
from frbench.harness.core.contracts import Artifact, Draw, FitContext, Fitted, Images
from frbench.harness.core.domains import Components
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSource
from frbench.harness.core.purifiers import Purifier, Sides

_SMALLEST_SIGMA = 0.15  # pixels: the window is a single pixel and the filter is the identity


@dataclass(frozen=True)
class EqualEnergy:
    """Recipe of ``sigma``: the low-pass filter loses as much energy as a projection on ``components`` eigenfaces.

    The energy loss is ``mean |x - filtered x|^2`` over all gray faces in [-1, 1]. The artifact holds three scalars:
    ``sigma`` in pixels, ``projection_residual`` and ``lowpass_residual``.
    """

    identity = "recipe.equal_energy_lowpass"
    version = 1

    components: int

    needs_recognizer = False

    def fit(self, context: FitContext) -> Artifact:
        """Solve for ``sigma``.

        Raises:
            ConfigError: no Gaussian loses that much energy, or there are fewer faces than components.
        """
        target = self._projection_residual(context)
        residual = cache(partial(_lowpass_residual, context))
        largest_sigma = context.faces.images.shape[1] / 7
        sigma = _SMALLEST_SIGMA
        while residual(sigma) <= target:
            if sigma > largest_sigma:
                raise ConfigError(
                    f"components={self.components} eigenfaces lose {target:.4g} of energy per face and a low-pass of "
                    f"{sigma:.1f} pixels only {residual(sigma):.4g}; use more components"
                )
            sigma *= 2
        sigma = brentq(lambda width: residual(width) - target, sigma / 2, sigma, xtol=1e-3)
        scalars = {"sigma": sigma, "projection_residual": target, "lowpass_residual": residual(sigma)}
        return {name: torch.tensor(value, dtype=torch.float32) for name, value in scalars.items()}

    def _projection_residual(self, context: FitContext) -> float:
        space = Eigenspace.of(context.part(Eigenfaces(self.components)), context.device)
        total = 0.0
        for faces in chunks(context.faces, context.device):
            residual = (faces - space.mean).square().sum(dim=1) - space.coefficients(faces).square().sum(dim=1)
            total += float(residual.double().sum())
        return max(total, 0.0) / len(context.faces.images)  # rounding may make a zero residual negative


def _lowpass_residual(context: FitContext, sigma: float) -> float:
    height, width = context.faces.images.shape[1:3]
    total = 0.0
    for faces in chunks(context.faces, context.device):
        images = faces.reshape(-1, 1, height, width)
        residual = (images - gaussian_blur(images, sigma)).square().flatten(1).sum(dim=1)
        total += float(residual.double().sum())
    return total / len(context.faces.images)


@dataclass(frozen=True)
class LowPass:
    """Blur the gray face by the fitted ``sigma`` and copy it to three channels, without clipping."""

    identity = "purifier.lowpass"
    version = 1

    artifact: Fitted
    sigma: float

    differentiable = True
    unclamped = True
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        faces = gray(images).reshape(-1, 1, *images.shape[2:])
        return to_rgb(gaussian_blur(faces, self.sigma).flatten(1), images)


@dataclass(frozen=True)
class LowPassDefense(FittedPurifierDefense):
    """Low-pass filter that loses as much energy on ``faces`` as a projection on ``components`` eigenfaces."""

    identity = "defense.lowpass"
    version = 1

    faces: FaceSource = field(compare=False)  # identified by the digest of its images, not by paths
    components: Components = 1087
    apply_to: Sides = "both"
    artifact: Fitted | None = field(default=None, repr=False)

    option: ClassVar[str] = "lowpass"

    @property
    def recipe(self) -> EqualEnergy:
        return EqualEnergy(self.components)

    def purifier(self) -> LowPass:
        return LowPass(self.ready, float(self.ready.tensors["sigma"]))

    def differentiable_purifiers(self) -> Mapping[str, Purifier]:
        return {"exact": self.purifier()}
