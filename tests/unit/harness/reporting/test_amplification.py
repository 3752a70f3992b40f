"""The factor by which differences are amplified."""

from __future__ import annotations

import numpy as np
import pytest

from frbench.harness.reporting.amplification import amplification


@pytest.mark.parametrize(("levels", "factor"), [(1, 64), (8, 8), (64, 1), (255, 1), (0, 128)])
def test_that_a_difference_is_amplified_as_far_as_it_fits(levels: int, factor: int) -> None:
    assert amplification([np.full((2, 2, 3), levels / 255), np.zeros((2, 2, 3))]) == factor
