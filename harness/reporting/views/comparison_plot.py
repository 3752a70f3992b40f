"""The margins of both runs of a comparison, pair by pair, as a plot. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from frbench.harness.reporting.colours import Look, looks
from frbench.harness.reporting.views.comparison import NAMES, Comparison, Part
from frbench.harness.reporting.views.comparison_tables import photo_words
from frbench.harness.reporting.views.plot_parts import PlotView, axis, layout
from frbench.harness.reporting.words import defense_words
from frbench.harness.storage.records import label

_BOTH, _NEITHER = Look("#8a9099", "o"), Look("#c3c8cf", "s")
_OUTCOMES: Mapping[str, tuple[bool, bool]] = {  # with the successes of A and B; the flipped pairs are drawn last
    "neither succeeds": (False, False),
    "both succeed": (True, True),
    "A alone succeeds": (True, False),
    "B alone succeeds": (False, True),
}
_BELOW_BUTTONS = -24  # pixels; plotly's buttons are in the upper right corner
_LINE = {"type": "line", "line": {"color": "#7a828e", "width": 1}}


def margins_plot(found: Comparison, part: Part) -> PlotView | None:
    """The margin of each pair in A against that in B, with a quadrant per outcome; None without scores."""
    rows = part.rows
    if "margin_a" not in rows or not rows[["margin_a", "margin_b"]].notna().all(axis=1).any():
        return None
    scale = 1.05 * float(np.nanmax(np.abs(rows[["margin_a", "margin_b"]].to_numpy(float))))
    ranges = {"range": [-scale, scale]}
    plan = layout(*(axis(f"margin in {name}", **ranges) for name in NAMES))
    plan["height"] = 520
    plan["shapes"] = [
        {**_LINE, "x0": 0, "x1": 0, "y0": -scale, "y1": scale},
        {**_LINE, "y0": 0, "y1": 0, "x0": -scale, "x1": scale},
        {**_LINE, "x0": -scale, "x1": scale, "y0": -scale, "y1": scale} | {"line": _DOTTED},
    ]
    plan["annotations"] = _quadrants(rows)
    title = f"Margins of the same {found.row}s in both runs{f', {part.name}' if part.name else ''}"
    caption = (
        "The margin is the attacked score minus the threshold: a face is accepted above 0. Flipped "
        f"{found.row}s have margins of different signs; on the dotted line both margins are equal."
    )
    return PlotView(title, caption, {"data": _traces(found, rows), "layout": plan})


_DOTTED = {"color": "#7a828e", "width": 1, "dash": "dot"}


def _traces(found: Comparison, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """A trace per outcome. A run has the colour of its defense where the defenses differ."""
    names = [label(record, "defense") for record in (found.a, found.b)]
    noun, keys = ("defense", names) if names[0] != names[1] else ("run", list(NAMES))
    own = looks(noun, keys)
    chosen = [_NEITHER, _BOTH, *(own[key] for key in keys)]
    markers = ("square-open", "circle-open", "circle", "diamond")
    traces = []
    for (name, (a, b)), look, marker in zip(_OUTCOMES.items(), chosen, markers, strict=True):
        those = rows[(rows["success_a"] == a) & (rows["success_b"] == b)]
        run = names[0 if a else 1] if a != b and noun == "defense" else ""
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{name}{f' ({defense_words(run)})' if run else ''}: {len(those):,}",
                "x": those["margin_a"].tolist(),
                "y": those["margin_b"].tolist(),
                "text": [_hover(row) for row in those.to_dict("records")],
                "hoverinfo": "text",
                "marker": {"color": look.colour, "symbol": marker, "size": 7, "line": {"width": 1}},
            }
        )
    return traces


def _hover(row: Mapping[Hashable, Any]) -> str:
    photos = [photo_words(row[name]) for name in ("probe", "reference") if isinstance(row.get(name), str)]
    numbers = [f"{name} {row[f'margin_{side}']:+.3f}" for name, side in zip(NAMES, "ab", strict=True)]
    return "<br>".join(filter(None, (f"pair {row['index']}", " – ".join(photos), ", ".join(numbers))))


def _quadrants(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """What the corners mean: an attack succeeds on a genuine pair below the threshold, on an impostor pair above it."""
    if "same" not in rows or rows["same"].nunique() != 1:
        return []
    genuine = bool(rows["same"].iloc[0])
    corners = []
    for name, (a, b) in _OUTCOMES.items():
        x, y = (0.01 if won == genuine else 0.99 for won in (a, b))
        anchors = {"xanchor": "left" if x < 0.5 else "right", "yanchor": "bottom" if y < 0.5 else "top"}
        place: dict[str, Any] = {"xref": "paper", "yref": "paper", "x": x, "y": y, "showarrow": False}
        place["yshift"] = 0 if y < 0.5 else _BELOW_BUTTONS
        corners.append({"text": name, "bgcolor": "rgba(255,255,255,0.8)", **place, **anchors})
    return corners
