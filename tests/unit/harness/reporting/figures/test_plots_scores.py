"""Histograms of scores before and after an attack."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from frbench.harness.reporting.figures.plots_scores import score_histograms


def scores(defense: str, goal: str) -> pd.DataFrame:
    clean, moved = np.linspace(0.4, 0.8, 40), np.linspace(-0.2, 0.2, 40)
    columns = {"clean_score": clean, "adversarial_score": moved, "threshold": 0.3, "same": goal == "dodging"}
    return pd.DataFrame(columns | {"defense": defense, "goal": goal})


def test_that_a_panel_has_both_distributions_in_percent_and_the_threshold() -> None:
    frame = pd.concat([scores("none", "dodging"), scores("jpeg", "dodging"), scores("none", "impersonation")])
    axes = score_histograms(frame, "Title").axes
    titles = ["dodging, no defense", "impersonation, no defense", "dodging, jpeg", "impersonation, jpeg"]
    assert [panel.get_title() for panel in axes] == titles
    assert [panel.get_ylabel() for panel in axes] == ["genuine, %", "impostor, %", "genuine, %", ""]
    clean, attacked = axes[0].patches
    for drawn, (low, high) in ((clean, (0.4, 0.8)), (attacked, (-0.2, 0.2))):
        corners = drawn.get_path().vertices
        inside = corners[corners[:, 1] > 0, 0]
        assert low - 0.05 < inside.min() <= low and high <= inside.max() < high + 0.05
        assert 5 < corners[:, 1].max() < 12  # 40 scores in about 13 bins
    assert axes[0].get_lines()[0].get_xdata()[0] == pytest.approx(0.3)
    assert [text.get_text() for text in axes[3].texts] == ["not run"]
    assert len({panel.get_xlim() for panel in axes}) == 1
