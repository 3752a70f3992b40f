"""The ASR of several attackers by defense, as a pure function from a frame to a figure; no pyplot, no global state."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from frbench.harness.reporting.colours import numbered_looks
from frbench.harness.reporting.figures.style import ALL, legend, panels, style
from frbench.harness.reporting.words import short_labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OFFSET = 0.14  # of the two points of a defense from the middle of its row


def asr_dots(frame: pd.DataFrame, attackers: Sequence[str], title: str) -> Figure:
    """ASR of two attackers with its interval: a row per defense, a panel per goal.

    Args:
        frame: columns defense, goal, attacker, asr, asr_low, asr_high.
        attackers: the two values of ``attacker``; the first is above the second.
        title: of the figure.
    """
    from matplotlib.lines import Line2D

    goals, defenses = (list(dict.fromkeys(frame[column])) for column in ("goal", "defense"))
    names, common = short_labels(defenses)
    looks: list[dict[str, Any]] = [
        {"color": look.colour, "marker": look.marker, "markersize": 5.5, "linestyle": "none"}
        for look in numbered_looks(attackers).values()
    ]
    with style():
        size = (3.3, 0.42 * len(defenses) + 0.7)
        title = f"{title}\n{ALL} defenses: {common}" if common else title
        figure, axes = panels(1, len(goals), size, title)
        for panel, goal in zip(axes[0], goals, strict=True):
            panel.set_title(goal)
            for k, (attacker, look) in enumerate(zip(attackers, looks, strict=True)):
                here = frame[(frame["goal"] == goal) & (frame["attacker"] == attacker)]
                place = np.array([defenses.index(name) for name in here["defense"]]) + _OFFSET * (2 * k - 1)
                rate, low, high = (100 * here[column].to_numpy(float) for column in ("asr", "asr_low", "asr_high"))
                panel.hlines(place, low, high, color=look["color"], linewidth=1.6, alpha=0.55)
                panel.plot(rate, place, clip_on=False, zorder=3, **look)
            panel.set_yticks(range(len(defenses)), [fill(name, 24, break_long_words=False) for name in names])
            panel.set_ylim(len(defenses) - 0.5, -0.5)
            panel.tick_params(labelleft=panel is axes[0, 0])
            panel.set_xlim(-2, 102)
            panel.set_xticks(range(0, 101, 25))
            panel.set_xlabel("ASR, %")
        legend(figure, [Line2D([], [], label=each, **look) for each, look in zip(attackers, looks, strict=True)])
    return figure
