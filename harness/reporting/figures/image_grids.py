"""Grids of sample images, as pure functions from arrays to a figure; no pyplot, no global state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from frbench.harness.reporting.amplification import amplification
from frbench.harness.reporting.figures.style import style, wrapped_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class _TileSize:
    """Sizes of a grid.

    Attributes:
        tile: width of a tile in inches.
        row: height of a row in inches.
        margins: width and height of all margins in inches.
        down: distance between tiles of a column, in tiles.
        right: distance between tiles of a row, in tiles.
    """

    tile: float
    row: float
    margins: tuple[float, float]
    down: float
    right: float = 1.06


@dataclass(frozen=True)
class PairRow:
    """One attacked pair: images (H, W, 3) in [0, 1], scores, threshold, and whether the attack succeeded."""

    name: str
    clean: np.ndarray
    adversarial: np.ndarray
    reference: np.ndarray
    clean_score: float
    adversarial_score: float
    threshold: float
    success: bool


@dataclass(frozen=True)
class CloakRow:
    """A photo (H, W, 3) in [0, 1], the cloaked photo, and the cloaked photo after the tracker's defense."""

    name: str
    natural: np.ndarray
    cloaked: np.ndarray
    purified: np.ndarray


_PAIRS = _TileSize(tile=1.55, row=1.55 * 1.1, margins=(0.55, 0.6), down=1.17)
_CLOAKS = _TileSize(tile=1.35, row=1.35, margins=(0.6, 0.7), down=1.06)
_TILES: dict[str, Callable[[CloakRow, int], np.ndarray]] = {
    "original": lambda row, factor: row.natural,
    "cloaked": lambda row, factor: row.cloaked,
    "cloak × {factor}": lambda row, factor: 0.5 + factor * (row.cloaked - row.natural),
    "purified": lambda row, factor: row.purified,
    "residual × {factor}": lambda row, factor: 0.5 + factor * (row.purified - row.natural),
}


def pair_grid(rows: Sequence[PairRow], title: str) -> Figure:
    """A row per pair: clean image, adversarial image, amplified difference and reference.

    Scores, perturbation size, threshold and success are printed below the images.
    """
    factor = amplification([row.adversarial - row.clean for row in rows])
    heads = ("clean", "adversarial", f"difference × {factor}", "reference")
    tiles = [(row.clean, row.adversarial, 0.5 + factor * (row.adversarial - row.clean), row.reference) for row in rows]
    with style():
        figure, panel = _tile_figure(heads, [row.name for row in rows], tiles, _PAIRS, title)
        for number, row in enumerate(rows):
            _captions(panel, row, number)
    return figure


def cloak_grid(rows: Sequence[CloakRow], title: str) -> Figure:
    """A row per photo: original, cloaked, amplified cloak, purified, amplified residual."""
    factor = amplification([row.cloaked - row.natural for row in rows])
    heads = [head.format(factor=factor) for head in _TILES]
    tiles = [[tile(row, factor) for tile in _TILES.values()] for row in rows]
    with style():
        figure, _ = _tile_figure(heads, [row.name for row in rows], tiles, _CLOAKS, title)
    return figure


def _tile_figure(
    heads: Sequence[str], names: Sequence[str], tiles: Sequence[Sequence[np.ndarray]], size: _TileSize, title: str
) -> tuple[Figure, Axes]:
    """A figure of images (H, W, 3) in [0, 1], with names of columns and rows.

    All images are tiles of one array, which draws much faster than an axis for each.
    """
    from matplotlib.figure import Figure

    height, width = tiles[0][0].shape[:2]
    down, right = round(height * size.down), round(width * size.right)
    canvas = np.full((down * len(tiles), right * len(heads), 3), 255, np.uint8)
    across, along = len(heads) * size.tile + size.margins[0], size.row * len(tiles) + size.margins[1]
    lines = wrapped_title(title, across)
    figure = Figure(figsize=(across, along + 0.2 * lines.count("\n")), layout="constrained")
    figure.suptitle(lines)
    panel = figure.subplots()
    for column, head in enumerate(heads):
        panel.text(right * column + width / 2, -3, head, ha="center", va="bottom", weight="bold")
    for number, (name, images) in enumerate(zip(names, tiles, strict=True)):
        for column, image in enumerate(images):
            tile = canvas[down * number :, right * column :][:height, :width]
            tile[:] = np.rint(255 * np.clip(image, 0, 1))  # matplotlib would truncate
        panel.text(-3, down * number + height / 2, name, rotation=90, ha="right", va="center", fontsize=8)
    panel.imshow(canvas, interpolation="nearest", extent=(0, right * len(heads), down * len(tiles), 0))
    panel.set_axis_off()
    return figure, panel


def _captions(panel: Axes, row: PairRow, number: int) -> None:
    height, width = row.clean.shape[:2]
    mark, colour = ("✓ success", "#006b4e") if row.success else ("✗ failure", "#a33c00")
    change = 255 * float(np.abs(row.adversarial - row.clean).max())
    texts = (
        (f"score {row.clean_score:.3f}", "black"),
        (f"score {row.adversarial_score:.3f} {mark}", colour),
        (f"L∞ {change:.1f}/255", "black"),
        (f"threshold {row.threshold:.3f}", "black"),
    )
    top = round(height * _PAIRS.down) * number + height * 1.03
    for column, (text, ink) in enumerate(texts):
        middle = round(width * _PAIRS.right) * column + width / 2
        panel.text(middle, top, text, ha="center", va="top", fontsize=7.5, color=ink)
