"""Purifiers: image-to-image functions before a recognizer, and the check of what they return."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

from frbench.harness.core.contracts import Draw, Images
from frbench.harness.core.errors import FrbenchError

Sides = Literal["both", "probe"]


class Purifier(Protocol):
    """A function from images (N, 3, H, W) in [0, 1] to images; randomness depends on ``index`` and the draw."""

    @property
    def differentiable(self) -> bool: ...

    @property
    def random(self) -> bool: ...

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images: ...


@runtime_checkable
class DeclaresRange(Protocol):
    """A purifier that declares by ``unclamped`` whether its values may leave [0, 1]."""

    @property
    def unclamped(self) -> bool: ...


def may_leave_range(purifier: Purifier) -> bool:
    """Whether the purifier declares that its values may leave [0, 1], as those of a projection on eigenfaces do."""
    return isinstance(purifier, DeclaresRange) and purifier.unclamped


RANGE_TOLERANCE = 1e-3  # of purified pixels beyond [0, 1]: a quarter of a gray level, far above rounding


def purify(purifier: Purifier, images: Images, index: Tensor, draw: Draw) -> Images:
    """Purify ``images`` and check the result.

    A purifier that does not clip by design, such as a projection on eigenfaces, declares ``unclamped = True``; its
    values need only be finite.

    Raises:
        FrbenchError: the result has another type, shape or range than the images.
    """
    made: object = purifier(images, index, draw)
    if not isinstance(made, Tensor) or made.shape != images.shape or made.dtype != images.dtype:
        shown = f"{made.dtype} {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
        raise FrbenchError(
            f"{_named(purifier)} returned {shown} for images {images.dtype} {tuple(images.shape)}; keep type and shape"
        )
    low, high = _ends(made)
    finite = math.isfinite(low) and math.isfinite(high)
    right = finite if may_leave_range(purifier) else _within(low, high)
    if not right and _within(*_ends(images)):  # images out of range are reported elsewhere
        found = f"values from {low:g} to {high:g}" if finite else "values that are not finite"
        raise FrbenchError(f"{_named(purifier)} returned images with {found}, expected [0, 1]; scale or clip them")
    return made


def _ends(images: Images) -> tuple[float, float]:
    """Least and greatest value, both NaN if any value is; 0 and 0 for no images."""
    if not images.numel():
        return 0.0, 0.0
    low, high = images.detach().aminmax()
    return float(low), float(high)


def _within(low: float, high: float) -> bool:
    return low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE


def _named(purifier: Purifier) -> str:
    kind = type(purifier)
    return f"the purifier {kind.__module__}.{kind.__qualname__}"


@runtime_checkable
class Purifying(Protocol):
    """A defense that only purifies images, so that it can purify a training set too."""

    def purifier(self) -> Purifier: ...


@runtime_checkable
class ResamplablePurifier(Protocol):
    """A random purifier whose draws share work: ``purify_once`` computes that part and returns images by draw."""

    def purify_once(self, images: Images, index: Tensor) -> Callable[[Draw], Images]: ...
