"""Figures of face cloaking, as pure functions from frames and arrays to a figure; no pyplot, no global state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from frbench.harness.reporting.figures.style import legend, line, panels, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TILE = 1.35  # inches per image
_OTHERS, _NATURAL, _CLOAKED = "#999999", "#0072B2", "#D55E00"


def amplification_curves(frame: pd.DataFrame, title: str) -> Figure:
    """Success of cloaks with interval bands (above) and PSNR (below) against the amplification of the purifier.

    Args:
        frame: columns attack (a column of panels each), line, k, asr, asr_low, asr_high, psnr_natural, psnr_cloaked.
        title: of the figure.
    """
    attacks, lines = (list(dict.fromkeys(frame[column])) for column in ("attack", "line"))
    with style():
        figure, axes = panels(2, len(attacks), (3.3, 2.3), title)
        for column, attack in enumerate(attacks):
            here = frame[frame["attack"] == attack]
            _percent_panel(axes[0, column], attack, "success, %" if column == 0 else "")
            axes[1, column].set_ylabel("PSNR, dB" if column == 0 else "")
            axes[1, column].set_xlabel("amplification K")
            for number, name in enumerate(lines):
                points = here[here["line"] == name].sort_values("k")
                if len(points):
                    _rates(axes[0, column], points, line(number))
            _fidelities(axes[1, column], here)
            for panel in axes[:, column]:
                panel.set_xticks(sorted(set(frame["k"])))
        legend(figure, _line_key(lines), _fidelity_key())
    return figure


def _percent_panel(panel: Axes, title: str, ylabel: str) -> None:
    panel.set_title(title)
    panel.set_ylabel(ylabel)
    panel.set_ylim(-2, 102)
    panel.set_yticks(range(0, 101, 25))


def _rates(panel: Axes, points: pd.DataFrame, look: Mapping[str, Any]) -> None:
    asr, low, high = (100 * points[c].to_numpy(float) for c in ("asr", "asr_low", "asr_high"))
    panel.fill_between(points["k"], low, high, color=look["color"], alpha=0.14, linewidth=0)
    panel.plot(points["k"], asr, markersize=4.5, linewidth=1.5, clip_on=False, zorder=3, **look)


_FIDELITY = {
    "psnr_natural": (_OTHERS, "-", "PSNR, original + defense"),
    "psnr_cloaked": ("#444444", "--", "PSNR, cloak + defense"),
}


def _fidelities(panel: Axes, points: pd.DataFrame) -> None:
    for column, (colour, dash, _) in _FIDELITY.items():
        each = points.groupby("k")[column].mean()
        panel.plot(each.index, each.to_numpy(float), color=colour, linestyle=dash, marker=".", linewidth=1.4)


def _fidelity_key() -> list[Any]:
    from matplotlib.lines import Line2D

    keys: list[Any] = []
    for colour, dash, name in _FIDELITY.values():
        look: dict[str, Any] = {"color": colour, "linestyle": dash, "marker": "."}
        keys.append(Line2D([], [], label=name, **look))
    return keys


def _line_key(names: Sequence[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    return [Line2D([], [], label=name, markersize=4.5, linewidth=1.5, **line(k)) for k, name in enumerate(names)]


@dataclass(frozen=True)
class EmbeddingPlane:
    """Embeddings in two dimensions, float (N, 2) each; ``user`` (N,) is 0 for the user who cloaks."""

    user: np.ndarray
    natural: np.ndarray
    cloaked: np.ndarray
    purified: np.ndarray
    both: np.ndarray


def embedding_scatter(plane: EmbeddingPlane, title: str) -> Figure:
    """Embeddings of one user's cloaked photos among those of others: as published, and after the defense.

    The user's uncloaked photos are the same in both panels. ``protocols.cloaking.visual_samples`` makes the axes.
    """
    from matplotlib.ticker import MaxNLocator

    own = plane.user == 0
    sides: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "as published": (plane.natural, plane.cloaked),
        "after the defense": (plane.purified, plane.both),
    }
    everything = np.concatenate([plane.natural, plane.cloaked, plane.purified, plane.both])
    with style():
        figure, axes = panels(1, 2, (3.4, 3.2), title)
        for panel, (name, (others, cloaks)) in zip(axes[0], sides.items(), strict=True):
            panel.scatter(*others[~own].T, s=9, color=_OTHERS, alpha=0.6, linewidth=0)
            panel.scatter(*plane.natural[own].T, s=26, color=_NATURAL, marker="o", linewidth=0)
            panel.scatter(*cloaks[own].T, s=30, color=_CLOAKED, marker="^", linewidth=0)
            panel.set_title(name)
            panel.set_xlabel("first principal axis")
            panel.xaxis.set_major_locator(MaxNLocator(5))
            panel.set_xlim(*_span(everything[:, 0]))
            panel.set_ylim(*_span(everything[:, 1]))
        axes[0, 0].set_ylabel("second principal axis")
        legend(figure, _plane_key())
    return figure


def _span(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _plane_key() -> list[Any]:
    from matplotlib.lines import Line2D

    kinds = ((_OTHERS, ".", "other users"), (_NATURAL, "o", "user, uncloaked"), (_CLOAKED, "^", "user, cloaked"))
    return [Line2D([], [], color=c, marker=mark, linestyle="", label=name) for c, mark, name in kinds]


@dataclass(frozen=True)
class CloakRow:
    """A photo (H, W, 3) in [0, 1], the cloaked photo, and the cloaked photo after the tracker's defense."""

    name: str
    natural: np.ndarray
    cloaked: np.ndarray
    purified: np.ndarray


_Tile = Callable[[CloakRow, int], np.ndarray]
_TILES: dict[str, _Tile] = {
    "original": lambda row, factor: row.natural,
    "cloaked": lambda row, factor: row.cloaked,
    "cloak × {factor}": lambda row, factor: 0.5 + factor * (row.cloaked - row.natural),
    "purified": lambda row, factor: row.purified,
    "residual × {factor}": lambda row, factor: 0.5 + factor * (row.purified - row.natural),
}


def cloak_grid(rows: Sequence[CloakRow], title: str) -> Figure:
    """A row per photo: original, cloaked, amplified cloak, purified, amplified residual."""
    from matplotlib.figure import Figure

    factor, (height, width) = _factor(rows), rows[0].natural.shape[:2]
    down, right = round(height * 1.06), round(width * 1.06)
    canvas = np.full((down * len(rows), right * len(_TILES), 3), 255, np.uint8)
    inches = (len(_TILES) * _TILE + 0.6, _TILE * len(rows) + 0.7)
    lines = fill(title, int(inches[0] * 12))
    with style():
        figure = Figure(figsize=(inches[0], inches[1] + 0.2 * lines.count("\n")), layout="constrained")
        figure.suptitle(lines)
        panel = figure.subplots()
        for column, (head, tile) in enumerate(_TILES.items()):
            place = right * column + width / 2
            panel.text(place, -3, head.format(factor=factor), ha="center", va="bottom", weight="bold")
            for number, row in enumerate(rows):
                spot = canvas[down * number :, right * column :][:height, :width]
                spot[:] = np.rint(255 * np.clip(tile(row, factor), 0, 1))
        for number, row in enumerate(rows):
            place = down * number + height / 2
            panel.text(-3, place, row.name, rotation=90, ha="right", va="center", fontsize=8)
        panel.imshow(canvas, interpolation="nearest", extent=(0, right * len(_TILES), down * len(rows), 0))
        panel.set_axis_off()
    return figure


def _factor(rows: Sequence[CloakRow]) -> int:
    """The largest power of two, at most 128, by which every amplified cloak fits around mid-gray."""
    largest = max(float(np.abs(row.cloaked - row.natural).max()) for row in rows)
    return int(2 ** np.clip(np.floor(np.log2(0.5 / max(largest, 1e-6))), 0, 7))
