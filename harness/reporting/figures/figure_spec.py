"""What a report draws: title, caption and file name of each figure, known before it is drawn. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from frbench.harness.reporting.file_names import FileName

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class FigureSpec:
    """A figure that can be drawn.

    Attributes:
        file: what its file name is made of.
        title: what it shows, in plain words.
        setting: models, data and other settings that hold for all of it.
        caption: what to see, in one sentence.
        draw: from a title to the figure.
        endings: of its files.
        place: ``opening`` for a figure that opens the report, ``main`` for another one that is drawn by default, and
            ``all`` for one that is not.
    """

    file: FileName
    title: str
    setting: str
    caption: str
    draw: Callable[[str], Figure]
    endings: tuple[str, ...] = ("png", "pdf")
    place: Literal["opening", "main", "all"] = "main"

    def figure(self) -> Figure:
        """Draw it."""
        return self.draw(f"{self.title}\n{self.setting}")
