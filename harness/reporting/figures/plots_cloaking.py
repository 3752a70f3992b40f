"""Figures of face cloaking, as pure functions from frames and arrays to a figure; no pyplot, no global state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from frbench.harness.reporting.colours import numbered_looks
from frbench.harness.reporting.figures.style import legend, line_handles, panels, percent_axis, rate_line, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OTHERS, _NATURAL, _CLOAKED = "#999999", "#0072B2", "#D55E00"


def amplification_curves(frame: pd.DataFrame, title: str) -> Figure:
    """Success of cloaks with interval bands (above) and PSNR (below) against the amplification of the purifier.

    Args:
        frame: columns attack (a column of panels each), line, k, asr, asr_low, asr_high, psnr_natural, psnr_cloaked.
        title: of the figure.
    """
    attacks, drawn = list(dict.fromkeys(frame["attack"])), numbered_looks(frame["line"])
    with style():
        figure, axes = panels(2, len(attacks), (3.3, 2.3), title)
        for column, attack in enumerate(attacks):
            here = frame[frame["attack"] == attack]
            percent_axis(axes[0, column])
            axes[0, column].set_title(attack)
            axes[0, column].set_ylabel("success, %" if column == 0 else "")
            axes[1, column].set_ylabel("PSNR, dB" if column == 0 else "")
            axes[1, column].set_xlabel("amplification K")
            for name, look in drawn.items():
                points = here[here["line"] == name].sort_values("k")
                if len(points):
                    rate_line(axes[0, column], points, "k", look, name)
            _fidelities(axes[1, column], here)
            for panel in axes[:, column]:
                panel.set_xticks(sorted(set(frame["k"])))
        legend(figure, line_handles(drawn), _fidelity_handles())
    return figure


_FIDELITY = {
    "psnr_natural": (_OTHERS, "-", "PSNR, original + defense"),
    "psnr_cloaked": ("#444444", "--", "PSNR, cloak + defense"),
}


def _fidelities(panel: Axes, points: pd.DataFrame) -> None:
    for column, (colour, dash, _) in _FIDELITY.items():
        each = points.groupby("k")[column].mean()
        panel.plot(each.index, each.to_numpy(float), color=colour, linestyle=dash, marker=".", linewidth=1.4)


def _fidelity_handles() -> list[Any]:
    from matplotlib.lines import Line2D

    keys: list[Any] = []
    for colour, dash, name in _FIDELITY.values():
        look: dict[str, Any] = {"color": colour, "linestyle": dash, "marker": "."}
        keys.append(Line2D([], [], label=name, **look))
    return keys


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
        legend(figure, _plane_handles())
    return figure


def _span(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def _plane_handles() -> list[Any]:
    from matplotlib.lines import Line2D

    kinds = ((_OTHERS, ".", "other users"), (_NATURAL, "o", "user, uncloaked"), (_CLOAKED, "^", "user, cloaked"))
    return [Line2D([], [], color=c, marker=mark, linestyle="", label=name) for c, mark, name in kinds]
