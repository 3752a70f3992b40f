"""Axes of the figures of the headline; ``test_plots.py`` checks their layout."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from frbench.harness.reporting.figures.plots_headline import against_robustness, roc_and_det


def point(x: float) -> dict[str, object]:
    shares = {"asr": 0.3, "asr_low": 0.2, "asr_high": 0.45}
    return {"goal": "dodging", "defense": f"d{x}", "x": x, "x_low": x, "x_high": x, **shares}


@pytest.mark.parametrize(
    ("xs", "ticks"), [((2.0, 30.0), [2, 5, 10, 20]), ((0.4, 900.0), [1, 10, 100, 1000]), ((3.0, 3.0), [2])]
)
def test_that_a_logarithmic_axis_has_plain_ticks_with_room_around_the_points(
    xs: tuple[float, float], ticks: list[float]
) -> None:
    (panel,) = against_robustness(pd.DataFrame(map(point, xs)), "ms per image", "Title", "log").axes
    assert list(panel.get_xticks()) == ticks and not len(panel.get_xticks(minor=True))
    low, high = panel.get_xlim()
    assert low < min(xs) and max(xs) < high


def test_that_the_interval_of_robustness_is_that_of_the_asr_turned_around() -> None:
    (panel,) = against_robustness(pd.DataFrame([point(1.0), point(2.0)]), "x", "Title").axes
    assert panel.get_lines()[0].get_ydata() == pytest.approx([70])
    assert sorted(panel.collections[0].get_segments()[0][:, 1]) == pytest.approx([55, 80])


def test_that_a_det_curve_ends_at_the_smallest_rate_that_the_pairs_can_show() -> None:
    far = np.linspace(0, 1, 11)
    frame = pd.DataFrame({"far": far, "tar": far, "attacked": False, "defense": "none", "smallest": 0.1})
    figure = roc_and_det(frame, "Title")
    roc, _, det, _ = figure.axes
    assert roc.get_xlim() == pytest.approx((5, 100))
    assert [label.get_text() for label in det.get_xticklabels()] == ["5", "20", "50", "80", "95"]
    (curve,) = det.get_lines()
    assert curve.get_xdata()[5] == pytest.approx(0) == curve.get_ydata()[5]
    assert (curve.get_xdata()[0], curve.get_xdata()[-1]) == pytest.approx(det.get_xlim())
