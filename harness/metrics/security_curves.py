"""Success rate against perturbation size: security curve, median size, area under the curve. Pure NumPy in float64.

Sizes are those of the smallest perturbation that succeeds on each pair; a failed attack has an infinite size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def security_curve(sizes: ArrayLike, grid: ArrayLike) -> NDArray[np.float64]:
    """Success rate against perturbation size (Biggio and Roli, Pattern Recognition 84, 2018).

    Args:
        sizes: float (N,), the smallest perturbation that succeeds; infinite for a failed attack.
        grid: float (M,), perturbation sizes.

    Returns:
        float64 (M,), share of ``sizes`` of at most each value of ``grid``; NaN if N is 0.

    >>> security_curve([1.0, 3.0, float("inf"), 2.0], [0, 1, 2, 4]).tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    ranked = np.sort(np.asarray(sizes, np.float64))
    points = np.asarray(grid, np.float64)
    if not len(ranked):
        return np.full(points.shape, np.nan)
    return np.searchsorted(ranked, points, side="right") / len(ranked)


def median_size(sizes: ArrayLike) -> float:
    """Median of ``sizes`` (N,), where a failed attack is infinite; infinite if half or more failed, NaN if N is 0.

    >>> median_size([1.0, 3.0, float("inf")])
    3.0
    """
    values = np.asarray(sizes, np.float64)
    return float(np.median(values)) if len(values) else float("nan")


def area_under_curve(sizes: ArrayLike, widest: float) -> float:
    """Normalised area under the security curve from size 0 to ``widest``: the mean success rate over these sizes.

    Exact, since the curve is a step function.

    Args:
        sizes: float (N,), at least 0; infinite for a failed attack.
        widest: upper limit of the sizes, above 0.

    Returns:
        A value in [0, 1]; NaN if N is 0.

    >>> area_under_curve([0.0, 2.0, 4.0, float("inf")], widest=4.0)
    0.375
    """
    found = np.asarray(sizes, np.float64)
    return float(np.clip(1 - found / widest, 0, 1).mean()) if len(found) else float("nan")
