"""Histograms of scores before and after an attack, as a pure function from a frame to a figure; no pyplot."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from frbench.harness.reporting.colours import ATTACKED, CLEAN
from frbench.harness.reporting.figures.style import ALL, legend, panels, style
from frbench.harness.reporting.words import short_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CLEAN: dict[str, Any] = {"color": CLEAN, "alpha": 0.55, "histtype": "stepfilled"}
_ATTACKED: dict[str, Any] = {"color": ATTACKED, "linewidth": 1.6, "histtype": "step"}
_THRESHOLD: dict[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 1}
_PAIRS = {True: "genuine", False: "impostor"}


def score_histograms(frame: pd.DataFrame, title: str, bins: int = 30) -> Figure:
    """Histograms of scores before and after one attack: a row of panels per defense, a column per goal.

    Args:
        frame: a row per attacked pair; columns defense, goal, same, clean_score, adversarial_score, threshold.
        title: of the figure.
        bins: number of bins, the same in all panels.
    """
    defenses, goals = (list(dict.fromkeys(frame[column])) for column in ("defense", "goal"))
    names, common = short_labels(defenses)
    scores = frame[["clean_score", "adversarial_score"]].to_numpy(float)
    edges = np.linspace(np.nanmin(scores) - 1e-3, np.nanmax(scores) + 1e-3, bins + 1)
    with style():
        title = f"{title}\n{ALL} defenses: {common}" if common else title
        figure, axes = panels(len(defenses), len(goals), (3.5, 1.5), title)
        for (i, j), panel in np.ndenumerate(axes):
            here = frame[(frame["defense"] == defenses[i]) & (frame["goal"] == goals[j])]
            _histograms(panel, here, edges.tolist())
            panel.set_title(fill(f"{goals[j]}, {names[i]}", 40))
            panel.set_ylabel(_kind(here))
            panel.set_xlabel("cosine score" if i == len(defenses) - 1 else "")
            panel.tick_params(labelbottom=i == len(defenses) - 1)
        legend(figure, [], _handles())
    return figure


def _kind(pairs: pd.DataFrame) -> str:
    kinds = [words for same, words in _PAIRS.items() if same in set(pairs["same"].astype(bool))]
    return f"{' and '.join(kinds)}, %" if kinds else ""


def _histograms(panel: Axes, pairs: pd.DataFrame, edges: Sequence[float]) -> None:
    for column, look in (("clean_score", _CLEAN), ("adversarial_score", _ATTACKED)):
        values = pairs[column].dropna().to_numpy(float)
        panel.hist(values, edges, weights=np.full(len(values), 100 / max(1, len(values))), **look)
    if len(pairs):
        panel.axvline(float(pairs["threshold"].mean()), **_THRESHOLD)
    else:
        panel.text(0.5, 0.5, "not run", transform=panel.transAxes, ha="center", color="#666666", style="italic")
    panel.set_xlim(edges[0], edges[-1])
    panel.locator_params(axis="y", nbins=3)


def _handles() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        Patch(color=_CLEAN["color"], alpha=_CLEAN["alpha"], label="before the attack"),
        Patch(facecolor="none", edgecolor=_ATTACKED["color"], linewidth=1.6, label="after the attack"),
        Line2D([], [], label="threshold: accepted to its right", **_THRESHOLD),
    ]
