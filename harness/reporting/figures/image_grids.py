"""Grids of sample images of attacked pairs: clean, adversarial, difference and reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from frbench.harness.reporting.figures.style import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TILE = 1.55  # inches per image


@dataclass(frozen=True)
class GridRow:
    """One attacked pair: images (H, W, 3) in [0, 1], scores, threshold, and whether the attack succeeded."""

    name: str
    clean: np.ndarray
    adversarial: np.ndarray
    reference: np.ndarray
    clean_score: float
    adversarial_score: float
    threshold: float
    success: bool


def amplification(rows: Sequence[GridRow]) -> int:
    """The largest power of two, at most 128, by which every amplified difference fits around mid-gray."""
    largest = max(float(np.abs(row.adversarial - row.clean).max()) for row in rows)
    return int(2 ** np.clip(np.floor(np.log2(0.5 / max(largest, 1e-6))), 0, 7))


def image_grid(rows: Sequence[GridRow], title: str) -> Figure:
    """A row per pair: clean image, adversarial image, amplified difference and reference.

    Scores, perturbation size, threshold and success are printed below the images. All images are tiles of one array,
    which draws much faster than an axis for each.
    """
    from matplotlib.figure import Figure

    factor, (height, width) = amplification(rows), rows[0].clean.shape[:2]
    down, right = round(height * 1.17), round(width * 1.06)  # distance between tiles
    canvas = np.full((down * len(rows), right * 4, 3), 255, np.uint8)
    inches = (4 * _TILE + 0.55, _TILE * 1.1 * len(rows) + 0.6)
    lines = fill(title, int(inches[0] * 12))
    with style():
        figure = Figure(figsize=(inches[0], inches[1] + 0.2 * lines.count("\n")), layout="constrained")
        figure.suptitle(lines)
        panel = figure.subplots()
        for column, head in enumerate(("clean", "adversarial", f"difference × {factor}", "reference")):
            panel.text(right * column + width / 2, -3, head, ha="center", va="bottom", weight="bold")
        for number, row in enumerate(rows):
            difference = 0.5 + factor * (row.adversarial - row.clean)
            for column, image in enumerate((row.clean, row.adversarial, difference, row.reference)):
                tile = canvas[down * number :, right * column :][:height, :width]
                tile[:] = np.rint(255 * np.clip(image, 0, 1))  # matplotlib would truncate
            _captions(panel, row, right, width, down * number, height)
        panel.imshow(canvas, interpolation="nearest", extent=(0, right * 4, down * len(rows), 0))
        panel.set_axis_off()
    return figure


def _captions(panel: Axes, row: GridRow, right: int, width: int, top: int, height: int) -> None:
    mark, colour = ("✓ success", "#006b4e") if row.success else ("✗ failure", "#a33c00")
    change = 255 * float(np.abs(row.adversarial - row.clean).max())
    texts = (
        (f"score {row.clean_score:.3f}", "black"),
        (f"score {row.adversarial_score:.3f} {mark}", colour),
        (f"L∞ {change:.1f}/255", "black"),
        (f"threshold {row.threshold:.3f}", "black"),
    )
    for column, (text, ink) in enumerate(texts):
        place = (right * column + width / 2, top + height * 1.03)
        panel.text(*place, text, ha="center", va="top", fontsize=7.5, color=ink)
    panel.text(-3, top + height / 2, row.name, rotation=90, ha="right", va="center", fontsize=8)
