"""ASR against feature distance, as a pure function from a frame to a figure; no pyplot, no global state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from frbench.harness.reporting.colours import defense_looks
from frbench.harness.reporting.figures.style import legend, line_handles, panels, percent_axis, rate_line, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_REACHED: dict[str, Any] = {"color": "#777777", "linestyle": ":", "linewidth": 1.8, "zorder": 4}


def distance_curves(frame: pd.DataFrame, title: str) -> Figure:
    """ASR against feature distance, descending to the right: a line with its interval band per defense.

    Args:
        frame: columns defense, distance, asr, asr_low, asr_high and reached; proportions in [0, 1].
        title: of the figure.
    """
    drawn = defense_looks(frame["defense"])
    with style():
        figure, axes = panels(1, 1, (4.8, 3.0), title)
        panel = axes[0, 0]
        _axes(panel, sorted(set(frame["distance"])))
        reached = frame.drop_duplicates("distance").sort_values("distance")
        panel.plot(reached["distance"], 100 * reached["reached"], **_REACHED)
        for name, look in drawn.items():
            rate_line(panel, frame[frame["defense"] == name].sort_values("distance"), "distance", look, name)
        legend(figure, line_handles(drawn), [_reached_handle()])
    return figure


def _axes(panel: Axes, distances: Sequence[float]) -> None:
    margin = 0.04 * (distances[-1] - distances[0] or 1)
    panel.set_xlim(distances[-1] + margin, distances[0] - margin)
    panel.set_xticks(distances, [f"{distance:g}" for distance in distances])
    panel.set_xlabel("feature distance q on the attacked model")
    panel.set_ylabel("ASR, %")
    percent_axis(panel)


def _reached_handle() -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], label="pairs that reached q", **_REACHED)
