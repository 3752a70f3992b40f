"""Shared matplotlib style and layout: panels, legend, reproducible files. No pyplot, no global state.

Colours are the colour-blind safe palette of Okabe and Ito; lines also differ by marker.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from frbench.harness.storage.records import NULL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", ":")
_DPI = 150
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.titlesize": 11,
    "pdf.fonttype": 42,
}


def style() -> AbstractContextManager[Any]:
    """The style of all figures, whatever matplotlibrc says."""
    from matplotlib.style import context

    entered: AbstractContextManager[Any] = context(["default", _STYLE])
    return entered


def panels(rows: int, columns: int, size: tuple[float, float], title: str) -> tuple[Figure, np.ndarray]:
    """An empty figure of ``rows x columns`` panels, each of about ``size`` inches, under a wrapped title."""
    from matplotlib.figure import Figure

    width = max(columns * size[0] + 0.6, 5.2)
    lines = fill(title, int(width * 12))
    height = rows * size[1] + 0.75 + 0.2 * lines.count("\n")
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(lines)
    return figure, figure.subplots(rows, columns, squeeze=False)


def legend(figure: Figure, named: Sequence[Any], others: Sequence[Any] = ()) -> None:
    """Add a legend below all panels, in as many columns as fit.

    Args:
        figure: grows if the legend needs more than two rows.
        named: handles labelled with names of options; settings that all of them share go to the legend's title.
        others: handles with other labels.
    """
    labels, shared = split_common_options([str(handle.get_label()) for handle in named])
    handles = [*named, *others]
    labels += [str(handle.get_label()) for handle in others]
    width = figure.get_figwidth()
    labels = [fill(label, int((width - 0.65) / 0.075), subsequent_indent="    ") for label in labels]
    longest = max(len(row) for label in labels for row in label.split("\n"))
    columns = int(np.clip(width / (0.65 + 0.085 * longest), 1, len(handles)))
    heights = [1 + label.count("\n") for label in labels]
    below = max(sum(heights[at : at + -(-len(heights) // columns)]) for at in range(len(heights)))
    title = fill(shared, int(width / 0.075)) if shared else None
    rows = below + (1 + title.count("\n") if title else 0)
    figure.set_figheight(figure.get_figheight() + 0.19 * max(0, rows - 2))  # the panels have room for two
    figure.legend(handles=handles, labels=labels, loc="outside lower center", ncols=columns, title=title)


def split_common_options(labels: Sequence[str]) -> tuple[list[str], str]:
    """Labels such as ``pgd(steps=40, step=1)`` without the settings that all but ``NULL`` share, and these settings."""
    found = [re.fullmatch(r"([^()]*)\((.*)\)", label, re.DOTALL) for label in labels]
    options = [re.split(r", (?=[\w.]+=)", match[2]) if match else [] for match in found]
    named = [own for own, label in zip(options, labels, strict=True) if label != NULL]
    shared = [option for option in named[0] if all(option in own for own in named)] if len(named) > 1 else []
    if not shared:
        return list(labels), ""
    left = [[option for option in own if option not in shared] for own in options]
    short = [
        label if match is None else f"{match[1]}({', '.join(own)})" if own else match[1]
        for label, match, own in zip(labels, found, left, strict=True)
    ]
    return short, f"all{f' except {NULL}' if NULL in labels else ''}: {', '.join(shared)}"


def save(figure: Figure, stem: Path, *endings: str) -> list[Path]:
    """Write a file per ending (``png``, ``pdf``), reproducible to the byte: without dates and program names."""
    metadata: dict[str, dict[str, None]] = {
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in endings]
    with style():
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # computed once for all files
        for path, ending in zip(paths, endings, strict=True):
            figure.savefig(path, dpi=_DPI, metadata=metadata[ending])
    return paths


def line(number: int) -> dict[str, Any]:
    """Colour, marker and dashes of line ``number``."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": DASHES[number // len(COLOURS) % len(DASHES)],
    }


def line_handles(names: Sequence[str]) -> list[Any]:
    """Legend handles of the lines ``names``, numbered from 0."""
    from matplotlib.lines import Line2D

    return [Line2D([], [], label=name, markersize=4.5, linewidth=1.5, **line(k)) for k, name in enumerate(names)]


def rate_line(panel: Axes, points: pd.DataFrame, x: str, number: int, name: str) -> None:
    """Draw a rate in % with its interval band.

    Args:
        panel: where to draw.
        points: columns asr, asr_low and asr_high in [0, 1], and ``x``; in ascending order of ``x``.
        x: column of the horizontal axis.
        number: of the line, for its colour and marker.
        name: of the line.
    """
    rate, low, high = (100 * points[column].to_numpy(float) for column in ("asr", "asr_low", "asr_high"))
    place, look = points[x].to_numpy(float), line(number)
    panel.fill_between(place, low, high, color=look["color"], alpha=0.14, linewidth=0)
    panel.plot(place, rate, label=name, markersize=4.5, linewidth=1.5, clip_on=False, zorder=3, **look)


def percent_axis(panel: Axes) -> None:
    """A vertical axis from 0 to 100 %."""
    panel.set_ylim(-2, 102)
    panel.set_yticks(range(0, 101, 25))
