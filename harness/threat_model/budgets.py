"""Perturbation budgets: L-inf, L2, DSSIM and none, on images in [0, 1].

A radius is a number, or one per pair (N,). Projections clip to [0, 1] last, which never leaves the ball. L2 is the
Euclidean norm over all pixels and channels.

The method: docs/methods/attacks_within_a_budget.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from frbench.harness.core.contracts import Ball, Images, Mask
from frbench.harness.core.domains import L2Radius, PixelChange, PositiveFraction, PositiveInt
from frbench.harness.core.errors import ConfigError
from frbench.harness.metrics.perturbation import ssim

Radius = float | Tensor
_TINY = 1e-12
_SLACK = 1 + 1e-5  # for the rounding of a sum of 37,632 squares


def column(radius: Radius, like: Tensor) -> Tensor:
    """``radius`` as (N, 1, 1, 1) on the device of ``like``; a number becomes one row that broadcasts."""
    return torch.as_tensor(radius, dtype=like.dtype, device=like.device).reshape(-1, 1, 1, 1)


def _rows(radius: Tensor, rows: Tensor) -> Tensor:
    return radius if len(radius) == 1 else radius[rows]


def _own(radius: Radius, rows: Tensor) -> Radius:
    """The radius of the pairs ``rows``; a number holds for all pairs."""
    return radius[rows] if isinstance(radius, Tensor) and radius.numel() > 1 else radius


def norm(change: Tensor) -> Tensor:
    """Euclidean length of each row, (N, 1, 1, 1)."""
    length: Tensor = torch.linalg.vector_norm(change, dim=(1, 2, 3), keepdim=True)
    return length


@dataclass(frozen=True)
class LinfBall:
    """L-inf ball around clean images, with precomputed lower and upper bounds (N, 3, H, W)."""

    clean: Images
    lower: Images
    upper: Images
    radius: Tensor

    def step(self, images: Images, gradient: Tensor, fraction: Radius) -> Images:
        moved = torch.addcmul(images, gradient.sign(), self.radius * fraction, value=-1)
        return torch.clamp(moved, self.lower, self.upper, out=moved)

    def project(self, images: Images) -> Images:
        return images.clamp(self.lower, self.upper)

    def sample(self, noise: Tensor) -> Images:
        return (self.clean + (2 * noise - 1) * self.radius).clamp(self.lower, self.upper)

    def __getitem__(self, rows: Tensor) -> LinfBall:
        return LinfBall(self.clean[rows], self.lower[rows], self.upper[rows], _rows(self.radius, rows))


@dataclass(frozen=True)
class Linf:
    """Budget on the largest change of any channel of any pixel.

    Attributes:
        radius: in [0, 1], such as 8/255.
    """

    identity = "budget.linf"
    version = 1

    radius: PixelChange | Tensor

    def project(self, adversarial: Images, clean: Images) -> Images:
        radius = column(self.radius, clean)
        return torch.minimum(torch.maximum(adversarial, clean - radius), clean + radius).clamp_(0, 1)

    def around(self, clean: Images) -> Ball:
        radius = column(self.radius, clean)
        return LinfBall(clean, (clean - radius).clamp_(0, 1), (clean + radius).clamp_(0, 1), radius)

    def size(self, adversarial: Images, clean: Images) -> Tensor:
        return (adversarial - clean).abs().amax(dim=(1, 2, 3))

    def fits(self, adversarial: Images, clean: Images) -> Mask:
        return self.size(adversarial, clean) <= torch.as_tensor(self.radius, device=clean.device) * _SLACK

    def resized(self, radius: Radius) -> Linf:
        return replace(self, radius=radius)

    def __getitem__(self, rows: Tensor) -> Linf:
        return replace(self, radius=_own(self.radius, rows))


@dataclass(frozen=True)
class L2Ball:
    """L2 ball around clean images; a zero gradient gives a zero step, not NaN."""

    clean: Images
    radius: Tensor

    def step(self, images: Images, gradient: Tensor, fraction: Radius) -> Images:
        reach = self.radius * fraction / norm(gradient).clamp_min(_TINY)
        return _onto_l2(torch.addcmul(images, gradient, reach, value=-1), self.clean, self.radius)

    def project(self, images: Images) -> Images:
        return _onto_l2(images, self.clean, self.radius)

    def sample(self, noise: Tensor) -> Images:
        """A random direction, with a length that is uniform in the radius, not in the volume."""
        centred = 2 * noise - 1
        length = self.radius * noise[:, :1, :1, :1]
        change = centred / norm(centred).clamp_min(_TINY) * length
        return _onto_l2(self.clean + change, self.clean, self.radius)

    def __getitem__(self, rows: Tensor) -> L2Ball:
        return L2Ball(self.clean[rows], _rows(self.radius, rows))


def _onto_l2(images: Images, clean: Images, radius: Tensor) -> Images:
    change = images - clean
    shrink = (radius / norm(change).clamp_min(_TINY)).clamp_max(1)
    return (clean + change * shrink).clamp_(0, 1)


@dataclass(frozen=True)
class L2:
    """Budget on the Euclidean norm of the change of an image in [0, 1].

    Attributes:
        radius: of the ball.
    """

    identity = "budget.l2"
    version = 1

    radius: L2Radius | Tensor

    def project(self, adversarial: Images, clean: Images) -> Images:
        return _onto_l2(adversarial, clean, column(self.radius, clean))

    def around(self, clean: Images) -> Ball:
        return L2Ball(clean, column(self.radius, clean))

    def size(self, adversarial: Images, clean: Images) -> Tensor:
        return norm(adversarial - clean).flatten()

    def fits(self, adversarial: Images, clean: Images) -> Mask:
        return self.size(adversarial, clean) <= torch.as_tensor(self.radius, device=clean.device) * _SLACK

    def resized(self, radius: Radius) -> L2:
        return replace(self, radius=radius)

    def __getitem__(self, rows: Tensor) -> L2:
        return replace(self, radius=_own(self.radius, rows))


@dataclass(frozen=True)
class Unbounded:
    """No budget except the range [0, 1].

    Attributes:
        reach: the unit of step sizes, in place of a radius.
    """

    identity = "budget.unbounded"
    version = 1

    reach: PixelChange = 64 / 255

    def project(self, adversarial: Images, clean: Images) -> Images:
        return adversarial.clamp(0, 1)

    def around(self, clean: Images) -> Ball:
        lower, upper = torch.zeros_like(clean), torch.ones_like(clean)
        return LinfBall(clean, lower, upper, column(self.reach, clean))

    def size(self, adversarial: Images, clean: Images) -> Tensor:
        return norm(adversarial - clean).flatten()

    def fits(self, adversarial: Images, clean: Images) -> Mask:
        return torch.ones(len(clean), dtype=torch.bool, device=clean.device)

    def resized(self, radius: Radius) -> Unbounded:
        raise ConfigError("budget=unbounded has no radius to search; use budget=linf_* or l2_*")

    def __getitem__(self, rows: Tensor) -> Unbounded:
        return self


@dataclass(frozen=True)
class DssimBall:
    """L-inf steps within the cap, followed by scaling of the whole change to the DSSIM limit."""

    budget: Dssim
    ball: LinfBall

    def step(self, images: Images, gradient: Tensor, fraction: Radius) -> Images:
        return self.budget.project(self.ball.step(images, gradient, fraction), self.ball.clean)

    def project(self, images: Images) -> Images:
        return self.budget.project(images, self.ball.clean)

    def sample(self, noise: Tensor) -> Images:
        return self.budget.project(self.ball.sample(noise), self.ball.clean)

    def __getitem__(self, rows: Tensor) -> DssimBall:
        return DssimBall(self.budget[rows], self.ball[rows])


@dataclass(frozen=True)
class Dssim:
    """Budget on the structural dissimilarity (1 - SSIM) / 2 with an 11x11 window, as in Fawkes.

    Attributes:
        radius: largest DSSIM.
        tolerance: the projection scales a change by bisection until its DSSIM is at most this much below ``radius``.
        cap: L-inf limit that also holds.
        bisections: steps of the projection at most.
    """

    identity = "budget.dssim"
    version = 1

    radius: PositiveFraction | Tensor
    tolerance: PositiveFraction = 1e-4
    cap: PixelChange = 16 / 255
    bisections: PositiveInt = 12

    def check_combination(self, where: str) -> None:
        if not isinstance(self.radius, Tensor) and self.tolerance >= self.radius:
            raise ConfigError(
                f"{where}.tolerance={self.tolerance} must be below {where}.radius={self.radius}; lower it"
            )

    def project(self, adversarial: Images, clean: Images) -> Images:
        capped = Linf(self.cap).project(adversarial, clean)
        limit = column(self.radius, clean)
        low, high = torch.zeros_like(clean[:, :1, :1, :1]), torch.ones_like(clean[:, :1, :1, :1])
        whole = self._column(capped, clean)
        reached = torch.where(whole <= limit, whole, torch.zeros_like(whole))
        fits = whole <= limit
        for _ in range(self.bisections):
            unsettled = ~fits & (
                limit - reached > self.tolerance
            )  # per row, so that results do not depend on the batch
            if not bool(unsettled.any()):
                break
            middle = (low + high) / 2
            size = self._column(torch.lerp(clean, capped, middle), clean)
            inside = size <= limit
            low = torch.where(unsettled & inside, middle, low)
            reached = torch.where(unsettled & inside, size, reached)
            high = torch.where(unsettled & ~inside, middle, high)
        return torch.where(fits, capped, torch.lerp(clean, capped, low)).clamp_(0, 1)

    def around(self, clean: Images) -> Ball:
        ball = Linf(self.cap).around(clean)
        assert isinstance(ball, LinfBall)
        return DssimBall(self, ball)

    def size(self, adversarial: Images, clean: Images) -> Tensor:
        return (1 - ssim(clean, adversarial)) / 2

    def _column(self, adversarial: Images, clean: Images) -> Tensor:
        with torch.no_grad():
            return self.size(adversarial, clean).reshape(-1, 1, 1, 1)

    def fits(self, adversarial: Images, clean: Images) -> Mask:
        return self.size(adversarial, clean) <= torch.as_tensor(self.radius, device=clean.device) * _SLACK

    def resized(self, radius: Radius) -> Dssim:
        return replace(self, radius=radius)

    def __getitem__(self, rows: Tensor) -> Dssim:
        return replace(self, radius=_own(self.radius, rows))
