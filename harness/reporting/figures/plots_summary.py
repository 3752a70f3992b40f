"""The figure of each defense before two attackers, as a pure function from a frame; no pyplot, no global state."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from frbench.harness.reporting.figures.style import COLOURS, MARKERS, apart, legend, panels, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_APART = 0.14  # between the two points of a defense, in rows


def twins(frame: pd.DataFrame, sides: Sequence[str], title: str) -> Figure:
    """Success rate with its interval on each defense (rows) of two attackers, a panel per goal.

    frame: columns defense, goal, side, asr, asr_low, asr_high. sides: the two values of ``side``, the first above.
    """
    from matplotlib.lines import Line2D

    goals, defenses = (list(dict.fromkeys(frame[column])) for column in ("goal", "defense"))
    names, shared = apart(defenses)
    dots: dict[str, Any] = {"markersize": 5.5, "linestyle": "none"}
    looks = [{"color": COLOURS[k], "marker": MARKERS[k], **dots} for k in (1, 2)]
    with style():
        size = (3.3, 0.42 * len(defenses) + 0.7)
        figure, axes = panels(1, len(goals), size, f"{title} · {shared}" if shared else title)
        for panel, goal in zip(axes[0], goals, strict=True):
            panel.set_title(goal)
            for k, (side, look) in enumerate(zip(sides, looks, strict=True)):
                here = frame[(frame["goal"] == goal) & (frame["side"] == side)]
                place = np.array([defenses.index(name) for name in here["defense"]]) + _APART * (2 * k - 1)
                rate, low, high = (100 * here[column].to_numpy(float) for column in ("asr", "asr_low", "asr_high"))
                panel.hlines(place, low, high, color=look["color"], linewidth=1.6, alpha=0.55)
                panel.plot(rate, place, clip_on=False, zorder=3, **look)
            panel.set_yticks(range(len(defenses)), [fill(name, 24, break_long_words=False) for name in names])
            panel.set_ylim(len(defenses) - 0.5, -0.5)
            panel.tick_params(labelleft=panel is axes[0, 0])
            panel.set_xlim(-2, 102)
            panel.set_xticks(range(0, 101, 25))
            panel.set_xlabel("ASR, %")
        legend(figure, [Line2D([], [], label=side, **look) for side, look in zip(sides, looks, strict=True)])
    return figure
