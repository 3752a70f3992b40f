"""Total-variation minimisation after random pixel dropout (Guo et al., ICLR 2018, section 4.3).

The total variation is the squared one. Its minimum solves a linear system, and so does the gradient of the minimum,
with the same matrix.

The method: docs/methods/input_transforms.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from frbench.defenses.components.purifier import PurifierDefense, StraightThrough
from frbench.harness.core.contracts import Draw, Images
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.domains import Positive, PositiveFraction, PositiveInt, Seed
from frbench.harness.core.purifiers import Purifier, Sides


def _negative_laplacian(images: Tensor) -> Tensor:
    """Gradient of half the sum of squared differences between neighbouring pixels."""
    out = torch.zeros_like(images)
    for dim in (-2, -1):
        step = images.diff(dim=dim)
        size = step.shape[dim]
        out.narrow(dim, 1, size).add_(step)
        out.narrow(dim, 0, size).sub_(step)
    return out


def _degree(like: Tensor) -> Tensor:
    """Number of neighbours of each pixel (1, 1, H, W)."""
    degree = torch.full((1, 1, *like.shape[-2:]), 4.0, dtype=like.dtype, device=like.device)
    for dim in (-2, -1):
        degree.narrow(dim, 0, 1).sub_(1)
        degree.narrow(dim, -1, 1).sub_(1)
    return degree


def solve_inpainting(right: Tensor, mask: Tensor, weight: float, iterations: int) -> Tensor:
    """Solve ``(mask + weight * L) z = right`` for each image of (N, C, H, W), L the graph Laplacian of the pixel grid.

    Takes ``iterations`` steps of conjugate gradients from zero, with the diagonal as preconditioner.
    """

    def dot(one: Tensor, other: Tensor) -> Tensor:
        return (one * other).sum(dim=(1, 2, 3), keepdim=True)

    def ratio(one: Tensor, other: Tensor) -> Tensor:
        return torch.where(other > 0, one / other, torch.zeros_like(one))  # zero once an image is solved

    diagonal = mask + weight * _degree(right)
    solution, residual = torch.zeros_like(right), right.clone()
    direction = residual / diagonal
    size = dot(residual, direction)
    for _ in range(iterations):
        product = torch.addcmul(weight * _negative_laplacian(direction), mask, direction)
        length = ratio(size, dot(direction, product))
        solution.addcmul_(length, direction)
        residual.addcmul_(length, product, value=-1)
        scaled = residual / diagonal
        before, size = size, dot(residual, scaled)
        direction = scaled.addcmul_(ratio(size, before), direction)
    return solution


class _Minimum(torch.autograd.Function):
    """``solve_inpainting(mask * images)``, whose backward pass solves the same symmetric system."""

    @staticmethod
    def forward(context: Any, images: Tensor, mask: Tensor, weight: float, iterations: int) -> Tensor:
        context.save_for_backward(mask)
        context.settings = (weight, iterations)
        return solve_inpainting((mask * images).contiguous(), mask, weight, iterations)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (mask,) = context.saved_tensors
        return mask * solve_inpainting(gradient.contiguous(), mask, *context.settings), None, None, None


@dataclass(frozen=True)
class TotalVariation:
    """Minimise ``sum mask * (z - x)^2 + weight * (squared differences of neighbours of z)`` over z, per channel.

    The mask keeps each value of each channel with probability ``keep``. It depends on ``seed`` alone and is the same
    for all images (``fixed``), or on the pair and the draw (``fresh``).
    """

    identity = "purifier.total_variation"
    version = 1

    keep: float
    weight: float
    iterations: int
    mask: Literal["fixed", "fresh"]
    seed: int

    differentiable = True

    @property
    def random(self) -> bool:
        return self.mask == "fresh"

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        pair, at = (index, draw) if self.random else (torch.zeros_like(index[:1]), Draw(self.seed, Stream.DEFENSE))
        mask = (uniform(pair, at, tuple(images.shape[1:])) < self.keep).to(images.dtype)
        minimum: Tensor = _Minimum.apply(images, mask, self.weight, self.iterations)
        return minimum


@dataclass(frozen=True)
class TotalVariationDefense(PurifierDefense):
    """Total-variation minimisation.

    Attributes:
        keep: probability that a value is kept.
        weight: weight of the total variation.
        iterations: steps of conjugate gradients.
        mask: ``fixed`` is one mask for all images, as in the code of PIN; ``fresh`` draws one for each purification.
        seed: seed of the fixed mask.
    """

    identity = "defense.total_variation"
    version = 1

    keep: PositiveFraction = 0.5
    weight: Positive = 0.1
    iterations: PositiveInt = 30
    mask: Literal["fixed", "fresh"] = "fixed"
    seed: Seed = 0
    apply_to: Sides = "both"

    def purifier(self) -> TotalVariation:
        return TotalVariation(self.keep, self.weight, self.iterations, self.mask, self.seed)

    def differentiable_purifiers(self) -> Mapping[str, Purifier]:
        return {"exact": self.purifier(), "identity": StraightThrough(self.purifier())}
