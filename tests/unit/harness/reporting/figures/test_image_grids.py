"""Grids of sample images."""

from __future__ import annotations

import numpy as np
import pytest
from support.plot_frames import (
    drawn,
    rows,
    texts,
)

from frbench.harness.reporting.amplification import amplification
from frbench.harness.reporting.figures import image_grids


def test_a_picture_grid_shows_scores_threshold_and_outcome() -> None:
    shown = texts(drawn("pictures"))
    expected = ["score 0.610", "score 0.120 ✓ success", "L∞ 8.0/255", "threshold 0.300", "difference × 8"]
    assert set(expected) <= set(shown)
    failed = image_grids.PairRow(**{**vars(rows()[0]), "success": False})
    assert "score 0.120 ✗ failure" in texts(image_grids.pair_grid([failed], "t"))


def test_the_tile_of_the_difference_is_gray_plus_the_amplified_change() -> None:
    figure = image_grids.pair_grid(rows(4 / 255, 1), "t")
    canvas = np.asarray(figure.axes[0].images[0].get_array())
    factor, right = amplification([np.full(1, 4 / 255)]), round(112 * 1.06)
    tile = canvas[:112, 2 * right : 2 * right + 112]
    expected = round(255 * 0.5 + factor * 4)
    assert (tile.min(), tile.max()) == pytest.approx((expected, expected), abs=1)
    assert np.array_equal(canvas[:112, :112], np.rint(255 * rows()[0].clean))
