"""The Gaussian low-pass that takes as much energy from faces as projecting them on leading eigenfaces does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial

import torch
from scipy.optimize import brentq
from torch import Tensor

from frbench.defenses.subspace.eigenfaces import Eigenfaces, Eigenspace, chunks
from frbench.harness.core.contracts import Artifact, FitContext
from frbench.harness.core.errors import ConfigError

_NARROWEST = 0.15  # pixels: the window is a single pixel and changes nothing


def low_passed(faces: Tensor, sigma: float) -> Tensor:
    """Faces (N, C, H, W) behind a Gaussian of ``sigma`` pixels (kornia), reflected at the border, cut at 3 sigma."""
    from kornia.filters import gaussian_blur2d

    window = 2 * int(3 * sigma + 0.5) + 1
    return gaussian_blur2d(faces, (window, window), (sigma, sigma))


@dataclass(frozen=True)
class EqualEnergy:
    """Recipe: ``sigma`` whose residual ``mean |x - low-passed x|^2`` equals that of ``components`` eigenfaces.

    The mean is over all fit faces, gray in [-1, 1]. Tensors, one number each: ``sigma`` in pixels, and the residuals
    reached, ``projection_residual`` and ``lowpass_residual``.
    """

    identity = "recipe.equal_energy_lowpass"
    version = 1

    components: int

    needs_recognizer = False

    def fit(self, context: FitContext) -> Artifact:
        """Raises FrbenchError: no Gaussian takes that much, or more components than faces."""
        target = self._left_by_projection(context)
        left = cache(partial(_left_by_blur, context))
        widest = context.faces.images.shape[1] / 7
        sigma = _NARROWEST
        while left(sigma) <= target:
            if sigma > widest:
                raise ConfigError(
                    f"components={self.components} eigenfaces leave {target:.4g} of a face out and a low-pass of "
                    f"{sigma:.1f} pixels only {left(sigma):.4g}: take more components"
                )
            sigma *= 2
        sigma = brentq(lambda width: left(width) - target, sigma / 2, sigma, xtol=1e-3)
        numbers = {"sigma": sigma, "projection_residual": target, "lowpass_residual": left(sigma)}
        return {name: torch.tensor(number, dtype=torch.float32) for name, number in numbers.items()}

    def _left_by_projection(self, context: FitContext) -> float:
        space = Eigenspace.of(context.part(Eigenfaces(self.components)), context.device)
        total = 0.0
        for faces in chunks(context.faces, context.device):
            every = (faces - space.mean).square().sum(dim=1) - space.coefficients(faces).square().sum(dim=1)
            total += float(every.double().sum())
        return max(total, 0.0) / len(context.faces.images)  # rounding, where nothing is left


def _left_by_blur(context: FitContext, sigma: float) -> float:
    height, width = context.faces.images.shape[1:3]
    total = 0.0
    for faces in chunks(context.faces, context.device):
        images = faces.reshape(-1, 1, height, width)
        every = (images - low_passed(images, sigma)).square().flatten(1).sum(dim=1)
        total += float(every.double().sum())
    return total / len(context.faces.images)
