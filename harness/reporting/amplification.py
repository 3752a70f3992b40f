"""How far the difference of two images is amplified to be seen. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def amplification(differences: Sequence[np.ndarray]) -> int:
    """The largest power of two, at most 128, by which every amplified difference fits around mid-gray.

    Args:
        differences: of images in [0, 1], of any shape.

    >>> amplification([np.array([0.0, -8 / 255])])
    8
    """
    largest = max(float(np.abs(difference).max()) for difference in differences)
    return int(2 ** np.clip(np.floor(np.log2(0.5 / max(largest, 1e-6))), 0, 7))
