"""Shared matplotlib style and layout: panels, legend, reproducible files. No pyplot, no global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from frbench.harness.reporting.colours import Look
from frbench.harness.reporting.words import short_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ALL = "Settings of all"  # before settings that the names of a legend or of rows share
_DPI = 150
_WIDEST = 14.0  # inches of a figure with several panels
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
    """An empty figure of ``rows x columns`` panels, each of about ``size`` inches, under a title of several lines."""
    from matplotlib.figure import Figure

    width = max(columns * size[0] + 0.6, 5.2)
    lines = wrapped_title(title, width)
    height = rows * size[1] + 0.75 + 0.2 * lines.count("\n")
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(lines)
    return figure, figure.subplots(rows, columns, squeeze=False)


def wrapped_title(title: str, width: float) -> str:
    """Each line of ``title`` wrapped to ``width`` inches."""
    return "\n".join(fill(line, int(width * 12)) for line in title.split("\n") if line)


class Place(NamedTuple):
    """A panel, and whether it is at the left and at the bottom of its figure."""

    panel: Axes
    left: bool
    bottom: bool


def panel_table(
    keys: Sequence[tuple[str, str]], size: tuple[float, float], title: str
) -> tuple[Figure, list[Place], list[Axes]]:
    """An empty figure with a panel per key.

    Args:
        keys: row and column of each panel; they make a table if all combinations exist and it is not too wide.
            Otherwise the panels are side by side, in rows that leave the fewest places free.
        size: of a panel, in inches.
        title: of the figure.

    Returns:
        The figure, its panels, and the empty panels of free places, for the legend.
    """
    rows, columns = (list(dict.fromkeys(part)) for part in zip(*keys, strict=True))
    most = max(1, int(_WIDEST / size[0]))
    if len(keys) == len(rows) * len(columns) and len(columns) <= most:
        across, places = len(columns), [(rows.index(row), columns.index(column)) for row, column in keys]
    else:
        across = min(range(min(most, len(keys)), 0, -1), key=lambda n: (-len(keys) % n) + (n == 1 < most))
        places = [divmod(number, across) for number in range(len(keys))]
    figure, axes = panels(-(-len(keys) // across), across, size, title)
    free = [panel for at, panel in np.ndenumerate(axes) if at not in places]
    for panel in free:
        panel.set_axis_off()
    below = {(row - 1, column) for row, column in places}
    return figure, [Place(axes[at], at[1] == 0, at not in below) for at in places], free


def legend(figure: Figure, named: Sequence[Any], others: Sequence[Any] = (), free: Sequence[Axes] = ()) -> None:
    """Add a legend below all panels, in as many columns as fit, or in a free panel.

    Args:
        figure: grows if the legend needs more than two rows.
        named: handles labelled with names of options; settings that all of them share go to the legend's title.
        others: handles with other labels.
        free: empty panels; the legend is in the first.
    """
    labels, shared = short_labels([str(handle.get_label()) for handle in named])
    handles = [*named, *others]
    labels += [str(handle.get_label()) for handle in others]
    title = f"{ALL}: {shared}" if shared else None
    if free:
        labels = [fill(label, 34, subsequent_indent="    ") for label in labels]
        free[0].legend(handles=handles, labels=labels, loc="center", title=title and fill(title, 34))
        return
    width = figure.get_figwidth()
    labels = [fill(label, int((width - 0.65) / 0.075), subsequent_indent="    ") for label in labels]
    columns = _columns(labels, width)
    below = max(sum(1 + label.count("\n") for label in column) for column in np.array_split(labels, columns))
    title = title and fill(title, int(width / 0.075))
    rows = below + (1 + title.count("\n") if title else 0)
    figure.set_figheight(figure.get_figheight() + 0.19 * max(0, rows - 2))  # the panels have room for two
    figure.legend(handles=handles, labels=labels, loc="outside lower center", ncols=columns, title=title)


def _columns(labels: Sequence[str], width: float) -> int:
    """The most columns of a legend that fit into ``width`` inches, with rows as equal as possible."""
    for count in range(len(labels), 1, -1):
        longest = [
            max(len(row) for label in part for row in label.split("\n")) for part in np.array_split(labels, count)
        ]
        if sum(0.65 + 0.08 * each for each in longest) <= width:
            return -(-len(labels) // -(-len(labels) // count))
    return 1


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


def line(look: Look) -> dict[str, Any]:
    """Colour, marker and dashes as arguments of ``plot``."""
    return {"color": look.colour, "marker": look.marker, "linestyle": look.dash}


def line_handles(looks: Mapping[str, Look]) -> list[Any]:
    """Legend handles of lines by their names."""
    from matplotlib.lines import Line2D

    return [Line2D([], [], label=name, markersize=4.5, linewidth=1.5, **line(look)) for name, look in looks.items()]


def rate_line(panel: Axes, points: pd.DataFrame, x: str, look: Look, name: str) -> None:
    """Draw a rate in % with its interval band.

    Args:
        panel: where to draw.
        points: columns asr, asr_low and asr_high in [0, 1], and ``x``; in ascending order of ``x``.
        x: column of the horizontal axis.
        look: of the line.
        name: of the line.
    """
    rate, low, high = (100 * points[column].to_numpy(float) for column in ("asr", "asr_low", "asr_high"))
    place = points[x].to_numpy(float)
    panel.fill_between(place, low, high, color=look.colour, alpha=0.14, linewidth=0)
    panel.plot(place, rate, label=name, markersize=4.5, linewidth=1.5, clip_on=False, zorder=3, **line(look))


def percent_axis(panel: Axes) -> None:
    """A vertical axis from 0 to 100 %."""
    panel.set_ylim(-2, 102)
    panel.set_yticks(range(0, 101, 25))
