"""Figures of the headline, as pure functions from a frame to a figure; no pyplot, no global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from frbench.harness.reporting.colours import Look, defense_looks
from frbench.harness.reporting.figures.style import legend, line, line_handles, panels, percent_axis, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SPREAD = 0.3  # width that the points of all defenses take at a level, in levels
_BAR: dict[str, Any] = {"linewidth": 1.2, "alpha": 0.45}


def knowledge_ladder(frame: pd.DataFrame, levels: Sequence[str], title: str) -> Figure:
    """ASR by what the attacker knows, a line per defense, a panel per goal.

    Args:
        frame: columns goal, defense, level, asr, asr_low and asr_high in [0, 1].
        levels: values of ``level`` by rising knowledge, from left to right.
        title: of the figure.
    """
    goals, drawn = list(dict.fromkeys(frame["goal"])), defense_looks(frame["defense"])
    aside = np.linspace(-_SPREAD / 2, _SPREAD / 2, len(drawn)) if len(drawn) > 1 else [0.0]
    with style():
        figure, axes = panels(1, len(goals), (1.0 + 0.75 * len(levels), 2.9), title)
        for panel, goal in zip(axes[0], goals, strict=True):
            panel.set_title(goal)
            for (name, look), offset in zip(drawn.items(), aside, strict=True):
                rows = frame[(frame["goal"] == goal) & (frame["defense"] == name)]
                place = np.array([levels.index(level) for level in rows["level"]]) + offset
                rate, low, high = (100 * rows[column].to_numpy(float) for column in ("asr", "asr_low", "asr_high"))
                panel.vlines(place, low, high, color=look.colour, **_BAR)
                panel.plot(place, rate, markersize=5, linewidth=1.3, clip_on=False, zorder=3, **line(look))
            panel.set_xlim(-0.5, len(levels) - 0.5)
            panel.set_xticks(range(len(levels)), levels)
            panel.set_xlabel("what the attacker knows")
            panel.set_ylabel("ASR, %" if panel is axes[0, 0] else "")
            percent_axis(panel)
        legend(figure, line_handles(drawn))
    return figure


def against_robustness(frame: pd.DataFrame, xlabel: str, title: str, xscale: str = "linear") -> Figure:
    """The share of pairs that withstand the strongest attack against a price, a point per defense, a panel per goal.

    Args:
        frame: columns goal, defense, x, x_low and x_high (equal to ``x`` without an interval), asr, asr_low and
            asr_high in [0, 1].
        xlabel: label of ``x``.
        title: of the figure.
        xscale: ``linear`` or ``log``.
    """
    goals, drawn = list(dict.fromkeys(frame["goal"])), defense_looks(frame["defense"])
    with style():
        figure, axes = panels(1, len(goals), (3.4, 2.9), title)
        for panel, goal in zip(axes[0], goals, strict=True):
            panel.set_title(goal)
            panel.set_xscale(xscale)
            for row in frame[frame["goal"] == goal].to_dict("records"):
                _point(panel, row, drawn[row["defense"]])
            panel.set_xlim(*_room(frame, xscale))
            if xscale == "log":
                _decimal_ticks(panel)
            panel.set_xlabel(xlabel)
            panel.set_ylabel("pairs that withstand the attack, %" if panel is axes[0, 0] else "")
            percent_axis(panel)
        legend(figure, _point_handles(drawn))
    return figure


def _point(panel: Axes, row: Mapping[Any, Any], look: Look) -> None:
    kept, low, high = (100 * (1 - row[column]) for column in ("asr", "asr_high", "asr_low"))
    panel.vlines([row["x"]], low, high, color=look.colour, **_BAR)
    panel.hlines([kept], row["x_low"], row["x_high"], color=look.colour, **_BAR)
    panel.plot([row["x"]], [kept], color=look.colour, marker=look.marker, markersize=6.5, clip_on=False, zorder=3)


def _room(frame: pd.DataFrame, xscale: str) -> tuple[float, float]:
    """Limits of the horizontal axis with room around all points and intervals."""
    low, high = float(frame["x_low"].min()), float(frame["x_high"].max())
    if xscale == "log":
        return low / 1.6, high * 1.6
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _point_handles(drawn: Mapping[str, Look]) -> list[Any]:
    return line_handles({name: Look(look.colour, look.marker, "none") for name, look in drawn.items()})


def roc_and_det(frame: pd.DataFrame, title: str) -> Figure:
    """ROC and DET curves without an attack and after one: rows for the curves, a line per defense.

    Args:
        frame: columns attacked (bool), defense, far and tar in [0, 1], by rising FAR within a line, and smallest, the
            smallest rate above 0 that its pairs can show.
        title: of the figure.
    """
    drawn, sides = defense_looks(frame["defense"]), {False: "clean", True: "after the strongest attack of each goal"}
    lowest = max(float(frame["smallest"].min()) / 2, 1e-5)
    with style():
        figure, axes = panels(2, 2, (3.4, 2.6), title)
        for column, (attacked, words) in enumerate(sides.items()):
            roc, det = axes[:, column]
            roc.set_title(words)
            for name, look in drawn.items():
                rows = frame[(frame["attacked"] == attacked) & (frame["defense"] == name)]
                if len(rows):
                    _roc_line(roc, rows, look, lowest)
                    _det_line(det, rows, look, lowest)
            _roc_axes(roc, lowest, column == 0)
            _det_axes(det, lowest, column == 0)
        legend(figure, line_handles(drawn))
    return figure


def _curve(look: Look) -> dict[str, Any]:
    return {"markersize": 4, "linewidth": 1.3, "markevery": (0.1, 0.2), **line(look)}


def _roc_line(panel: Axes, rows: pd.DataFrame, look: Look, lowest: float) -> None:
    shown = rows[(rows["far"] > 0) | (rows["far"].shift(-1) > 0)]  # one point at a FAR of 0, at the edge
    far, tar = (100 * shown[column].to_numpy(float) for column in ("far", "tar"))
    panel.plot(np.maximum(far, 100 * lowest), tar, drawstyle="steps-post", **_curve(look))


def _decimal_ticks(panel: Axes) -> None:
    """Ticks of a logarithmic axis at 1, 2 and 5 times powers of ten, or at these alone if the axis is long."""
    low, high = panel.get_xlim()
    steps = (1, 2, 5) if high / low < 200 else (1,)
    ticks = [step * 10.0**power for power in range(-6, 7) for step in steps]
    panel.set_xticks([tick for tick in ticks if low <= tick <= high])
    panel.minorticks_off()
    panel.xaxis.set_major_formatter("{x:g}")


def _roc_axes(panel: Axes, lowest: float, left: bool) -> None:
    panel.set_xscale("log")
    panel.set_xlim(100 * lowest, 100)
    _decimal_ticks(panel)
    panel.set_xlabel("FAR, %")
    panel.set_ylabel("ROC: TAR, %" if left else "")
    percent_axis(panel)


_RATES = (0.0001, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99)  # marked on both axes of a DET curve


def _det_line(panel: Axes, rows: pd.DataFrame, look: Look, lowest: float) -> None:
    far, frr = rows["far"].to_numpy(float), 1 - rows["tar"].to_numpy(float)
    panel.plot(_probit(far, lowest), _probit(frr, lowest), **_curve(look))


def _probit(share: Any, lowest: float) -> np.ndarray:
    """Normal deviates of rates; those beyond the axis at its ends."""
    from scipy.stats import norm

    return np.asarray(norm.ppf(np.clip(share, lowest, 1 - lowest)))


def _det_axes(panel: Axes, lowest: float, left: bool) -> None:
    marked = [rate for rate in _RATES if lowest <= rate <= 1 - lowest]
    low, high = _probit([lowest, 1 - lowest], lowest)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_ticks(_probit(marked, lowest), [f"{100 * rate:g}" for rate in marked])
    panel.set_xlim(low, high)
    panel.set_ylim(low, high)
    panel.set_xlabel("FAR, %")
    panel.set_ylabel("DET: FRR, %" if left else "")
