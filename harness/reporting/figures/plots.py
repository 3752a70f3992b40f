"""Figures as pure functions from data frames and arrays to a matplotlib ``Figure``; no pyplot, no global state."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from frbench.harness.reporting.colours import Look, looks
from frbench.harness.reporting.figures.style import (
    ALL,
    legend,
    line,
    line_handles,
    panel_table,
    panels,
    percent_axis,
    rate_line,
    style,
)
from frbench.harness.reporting.words import short_labels, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NO_VALUE = "#eeeeee"


def asr_curves(frame: pd.DataFrame, lines: str, xlabel: str, title: str) -> Figure:
    """ASR against the radius of the budget, with interval bands: a panel per threat model and goal.

    Args:
        frame: columns threat, goal, radius, asr, asr_low, asr_high and ``lines``; threat models, goals and lines appear
            in the order of the rows.
        lines: column with a line per value; the noun that the looks are for.
        xlabel: label of the radius.
        title: of the figure.
    """
    drawn, radii = looks(lines, frame[lines]), sorted(set(frame["radius"]))
    with style():
        figure, places, free = panel_table(_threats_and_goals(frame), (3.3, 2.5), title)
        for (threat, goal), (panel, left, bottom) in zip(_threats_and_goals(frame), places, strict=True):
            here = frame[(frame["threat"] == threat) & (frame["goal"] == goal)]
            panel.set_title(_attacker(threat, goal))
            _curve_axes(panel, radii)
            panel.set_xlabel(xlabel if bottom else "")
            panel.set_ylabel("ASR, %" if left else "")
            for name, look in drawn.items():
                chosen = here[here[lines] == name].sort_values("radius")
                if len(chosen):  # an empty line has no finite extent, which breaks the layout
                    rate_line(panel, chosen, "radius", look, name)
        legend(figure, line_handles(drawn), free=free)
    return figure


def _threats_and_goals(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """The combinations that exist, in the order of their first values."""
    threats, goals = (list(dict.fromkeys(frame[column])) for column in ("threat", "goal"))
    found = set(zip(frame["threat"], frame["goal"], strict=True))
    return [(threat, goal) for threat in threats for goal in goals if (threat, goal) in found]


def _attacker(threat: str, goal: str) -> str:
    """The title of a panel; without the threat model where there is none."""
    return f"{goal}, {words(threat)} attacker" if threat else goal


def _curve_axes(panel: Axes, radii: Sequence[float]) -> None:
    wide = radii[-1] / radii[0]
    if wide >= 4:
        panel.set_xscale("log", base=2)
    margin = max(wide, 2) ** 0.05  # the same in all panels, also without some radii
    panel.set_xlim(radii[0] / margin, radii[-1] * margin)
    panel.set_autoscalex_on(False)
    panel.set_xticks(radii, [f"{radius:g}" for radius in radii])
    panel.minorticks_off()
    percent_axis(panel)


def share_curves(frame: pd.DataFrame, lines: str, title: str, xscale: str = "linear") -> Figure:
    """ASR at a cost of at most x, as step curves: a row of panels per kind of cost, a column per goal.

    Args:
        frame: the corners of the steps; columns cost (label of the horizontal axis), goal, line, x, share, low and
            high. All lines of a row of panels should end at the same x.
        lines: the noun of the lines, which the looks are for.
        title: of the figure.
        xscale: ``linear`` or ``log``.
    """
    costs, goals = (list(dict.fromkeys(frame[c])) for c in ("cost", "goal"))
    drawn = looks(lines, frame["line"])
    with style():
        figure, axes = panels(len(costs), len(goals), (3.3, 2.4), title)
        for (i, j), panel in np.ndenumerate(axes):
            row = frame[frame["cost"] == costs[i]]
            panel.set_title(goals[j] if i == 0 else "")
            panel.set_xlabel(costs[i])
            panel.set_ylabel("ASR, %" if j == 0 else "")
            panel.set_xscale(xscale)
            panel.xaxis.set_major_formatter("{x:g}")
            panel.set_xlim(row["x"].min(), row["x"].max())
            percent_axis(panel)
            for name, look in drawn.items():
                chosen = row[(row["goal"] == goals[j]) & (row["line"] == name)].sort_values("x", kind="stable")
                if len(chosen):
                    _steps(panel, chosen, look, name)
        legend(figure, line_handles(drawn))
    return figure


def _steps(panel: Axes, corners: pd.DataFrame, look: Look, name: str) -> None:
    x = corners["x"].to_numpy(float)
    share, low, high = (100 * corners[c].to_numpy(float) for c in ("share", "low", "high"))
    panel.fill_between(x, low, high, step="post", color=look.colour, alpha=0.1, linewidth=0)
    every = max(1, len(x) // 6)
    panel.plot(
        x,
        share,
        label=name,
        drawstyle="steps-post",
        markevery=every,
        markersize=4,
        linewidth=1.4,
        clip_on=False,
        **line(look),
    )


def heat_map(frame: pd.DataFrame, title: str) -> Figure:
    """ASR of attacks (columns) on defenses (rows), with printed values: a panel per threat model and goal.

    Args:
        frame: columns threat, goal, defense, attack, asr, and text, printed below the value or in place of a NaN. A
            combination without a row was not run.
        title: of the figure.
    """
    defenses, attacks = (list(dict.fromkeys(frame[column])) for column in ("defense", "attack"))
    names, common = short_labels(defenses)
    rows = [fill(name, 26, break_long_words=False) for name in names]
    tall = max(0.55, 0.1 + 0.15 * max(1 + name.count("\n") for name in rows))
    longest = max(len(row) for name in rows for row in name.split("\n"))
    size = (0.95 * len(attacks) + 0.4 + 0.04 * longest, tall * len(defenses) + 0.95)
    with style():
        title = f"{title}\n{ALL} defenses: {common}" if common else title
        figure, places, free = panel_table(_threats_and_goals(frame), size, title)
        for (threat, goal), (panel, left, _) in zip(_threats_and_goals(frame), places, strict=True):
            here = frame[(frame["threat"] == threat) & (frame["goal"] == goal)]
            image = _heat(panel, here.set_index(["defense", "attack"]), defenses, attacks)
            panel.set_yticks(range(len(rows)), rows)
            panel.set_title(_attacker(threat, goal).replace(", ", "\n", 1))
            panel.tick_params(labelleft=left)
        axes = free or [place.panel for place in places]
        figure.colorbar(image, ax=axes, label="ASR, %", fraction=0.03, pad=0.02, ticks=range(0, 101, 25))
    return figure


def _heat(panel: Axes, cells: pd.DataFrame, defenses: Sequence[str], attacks: Sequence[str]) -> Any:
    values = np.full((len(defenses), len(attacks)), np.nan)
    for (row, column), _ in np.ndenumerate(values):
        key = (defenses[row], attacks[column])
        text, asr = "not run", float("nan")
        if key in cells.index:
            text, asr = str(cells["text"].loc[key]), float(cells["asr"].loc[key])
        values[row, column] = 100 * asr
        dark = asr > 0.55
        ink = "white" if dark else "#222222"
        if np.isnan(asr):
            panel.text(column, row, text, ha="center", va="center", fontsize=7, color="#666666", style="italic")
            continue
        panel.text(column, row - 0.1, f"{100 * asr:.1f}", ha="center", va="center", fontsize=9.5, color=ink)
        panel.text(column, row + 0.27, text, ha="center", va="center", fontsize=6.5, color=ink)
    panel.set_facecolor(NO_VALUE)
    panel.set_xticks(range(len(attacks)), [fill(name, 15, break_long_words=False) for name in short_labels(attacks)[0]])
    panel.set_xticks(np.arange(1, len(attacks)) - 0.5, minor=True)
    panel.set_yticks(np.arange(1, len(defenses)) - 0.5, minor=True)
    panel.grid(False, which="major")
    panel.grid(True, which="minor", color="white", linewidth=1.5)
    panel.tick_params(which="both", length=0)
    panel.spines[:].set_visible(False)
    return panel.imshow(values, cmap="OrRd", vmin=0, vmax=100, aspect="auto")
