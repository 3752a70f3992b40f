"""Parts of plotly figures as plain values: layout, lines with intervals, menus. plotly itself is not imported.

Lines are SVG, since ``Scattergl`` needs WebGL, which many remote desktops lack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from frbench.harness.reporting.colours import DASHES, MARKERS, Look
from frbench.harness.reporting.rates import Rate

Trace = dict[str, Any]
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
_GRID = "#e4e4e4"


class PlotView(NamedTuple):
    """A plot.

    Attributes:
        title: what it shows, in one line.
        caption: what to see, in one sentence.
        figure: ``data`` and ``layout`` of a plotly figure.
    """

    title: str
    caption: str
    figure: dict[str, Any]


def rate_line(
    name: str, look: Look, points: Sequence[tuple[Any, Rate]], texts: Sequence[str], measure: str = "ASR"
) -> Trace:
    """Rates in % with their intervals.

    Args:
        name: in the legend.
        look: colour, marker and dashes.
        points: place on the horizontal axis, and rate.
        texts: what each point is, shown with its rate where the pointer is.
        measure: the name of the rate.
    """
    shares = [100 * rate.share for _, rate in points]
    bounds = [[100 * bound for bound in rate.bounds] for _, rate in points]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": [x for x, _ in points],
        "y": shares,
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [high - share for share, (_, high) in zip(shares, bounds, strict=True)],
            "arrayminus": [share - low for share, (low, _) in zip(shares, bounds, strict=True)],
            "thickness": 1.2,
            "width": 3,
        },
        **style(look),
        "text": [f"{text}<br>{measure} {rate}" for text, (_, rate) in zip(texts, points, strict=True)],
        "hoverinfo": "text",
    }


def style(look: Look) -> dict[str, Any]:
    """The look of a line."""
    return {
        "line": {"color": look.colour, "dash": DASHES[look.dash], "width": 2},
        "marker": {"color": look.colour, "symbol": MARKERS[look.marker], "size": 8},
    }


def layout(x: Mapping[str, Any], y: Mapping[str, Any]) -> dict[str, Any]:
    """The layout of a plot with the legend below it. x, y: attributes of the axes."""
    axis = {"gridcolor": _GRID, "zeroline": False, "automargin": True, "linecolor": "#999999", "ticks": "outside"}
    return {
        "font": {"family": _FONT, "size": 12, "color": "#1d2129"},
        "margin": {"l": 50, "r": 15, "t": 15, "b": 40},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "yref": "container", "y": 0, "yanchor": "bottom"},
        "xaxis": axis | dict(x),
        "yaxis": axis | dict(y),
    }


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Attributes of an axis with a title."""
    return {"title": {"text": title, "standoff": 8}, **more}


def percent_axis(title: str) -> dict[str, Any]:
    """A vertical axis from 0 to 100 %."""
    return axis(title, range=[-2, 102], tickvals=[0, 25, 50, 75, 100])


def with_menu(groups: Mapping[str, Sequence[Trace]], plan: dict[str, Any]) -> dict[str, Any]:
    """A figure with one group of traces at a time, which readers choose from a menu.

    Args:
        groups: traces by the name of their group; the first is shown at first.
        plan: the layout.
    """
    first = next(iter(groups))
    data = [trace | {"visible": name == first} for name, traces in groups.items() for trace in traces]
    if len(groups) == 1:
        return {"data": data, "layout": plan}
    names = [name for name, traces in groups.items() for _ in traces]
    buttons = [
        {"label": group, "method": "restyle", "args": ["visible", [name == group for name in names]]}
        for group in groups
    ]
    menu = {
        "buttons": buttons,
        "x": 0,
        "xanchor": "left",
        "y": 1,
        "yanchor": "bottom",
        "pad": {"b": 8},
        "showactive": True,
    }
    return {"data": data, "layout": plan | {"updatemenus": [menu], "margin": plan["margin"] | {"t": 60}}}
