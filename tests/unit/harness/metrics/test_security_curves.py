"""Security curves, their area and their median: a failed attack has an infinite size."""

from __future__ import annotations

import numpy as np
import pytest

from frbench.harness.metrics.security_curves import area_under_curve, median_size, security_curve


def test_failures_are_infinite_in_curves_and_medians() -> None:
    sizes = [1.0, 2.0, 4.0, np.inf]
    assert list(security_curve(sizes, [0.5, 1, 2, 3, 100])) == [0, 0.25, 0.5, 0.5, 0.75]
    assert median_size(sizes) == 3.0
    assert median_size([1.0, np.inf, np.inf]) == np.inf
    assert np.isnan(median_size([]))
    assert np.isnan(security_curve([], [1.0])).all()


def test_that_the_area_is_that_of_a_numerical_integral() -> None:
    sizes = np.concatenate([np.random.default_rng(0).exponential(5, 500), [np.inf] * 100])
    radii = np.linspace(0, 16, 200_001)
    expected = [np.trapezoid(security_curve(sizes, k * radii), k * radii) / (k * 16) for k in (1, 2)]
    assert [area_under_curve(sizes, widest) for widest in (16, 32)] == pytest.approx(expected, abs=1e-5)
    assert area_under_curve([0, 0], 16) == 1
    assert area_under_curve([np.inf, 16], 16) == 0
    assert np.isnan(area_under_curve([], 16))
