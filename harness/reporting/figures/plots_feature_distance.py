"""ASR against feature distance, as a pure function from a frame to a figure; no pyplot, no global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from frbench.harness.reporting.figures.style import legend, line, panels, style

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
    names = list(dict.fromkeys(frame["defense"]))
    with style():
        figure, axes = panels(1, 1, (4.8, 3.0), title)
        panel = axes[0, 0]
        _axes(panel, sorted(set(frame["distance"])))
        reached = frame.drop_duplicates("distance").sort_values("distance")
        panel.plot(reached["distance"], 100 * reached["reached"], **_REACHED)
        for number, name in enumerate(names):
            _curve(panel, frame[frame["defense"] == name].sort_values("distance"), line(number))
        legend(figure, *_keys(names))
    return figure


def _axes(panel: Axes, distances: Sequence[float]) -> None:
    margin = 0.04 * (distances[-1] - distances[0] or 1)
    panel.set_xlim(distances[-1] + margin, distances[0] - margin)
    panel.set_xticks(distances, [f"{distance:g}" for distance in distances])
    panel.set_xlabel("feature distance q on the attacked model")
    panel.set_ylabel("ASR, %")
    panel.set_ylim(-2, 102)
    panel.set_yticks(range(0, 101, 25))


def _curve(panel: Axes, points: pd.DataFrame, look: Mapping[str, Any]) -> None:
    asr, low, high = (100 * points[c].to_numpy(float) for c in ("asr", "asr_low", "asr_high"))
    distances = points["distance"].to_numpy(float)
    panel.fill_between(distances, low, high, color=look["color"], alpha=0.14, linewidth=0)
    panel.plot(distances, asr, markersize=4.5, linewidth=1.5, clip_on=False, zorder=3, **look)


def _keys(names: Sequence[str]) -> tuple[list[Any], list[Any]]:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], label=name, markersize=4.5, linewidth=1.5, **line(k)) for k, name in enumerate(names)]
    return lines, [Line2D([], [], label="pairs that reached q", **_REACHED)]
