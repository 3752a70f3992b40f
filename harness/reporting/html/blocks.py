"""What a page is made of: sections of texts, tables, plots, pictures and run cards. Plain data, escaped on writing.

Every text may come from a record. The templates escape it and cut it at ``page.LONGEST`` characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from frbench.harness.reporting.tables.rendering import Table


@dataclass(frozen=True)
class Text:
    """Paragraphs.

    Attributes:
        paragraphs: plain text, in which ``**bold**`` and `` `code` `` have a meaning.
        is_note: whether to print them smaller, as a remark.
    """

    paragraphs: tuple[str, ...]
    is_note: bool = False
    template: ClassVar[str] = "text.html"


@dataclass(frozen=True)
class TableBlock:
    """A table with its title, caption and footnotes, which readers can sort and filter.

    Attributes:
        table: of any length; see ``page.MOST_ROWS``.
    """

    table: Table
    template: ClassVar[str] = "table.html"


@dataclass(frozen=True)
class Plot:
    """An interactive plot.

    Attributes:
        title: what it shows, in one line.
        caption: what to see, in one sentence.
        figure: ``data`` and ``layout`` of a plotly figure as plain JSON values, without ``Scattergl``, which needs
            WebGL, and without a title, which stands above the plot.
    """

    title: str
    caption: str
    figure: Mapping[str, Any]
    template: ClassVar[str] = "plot.html"


@dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        image: (H, W, 3) in [0, 1].
        alternative: what it shows, for readers who cannot see it.
        caption: printed below it.
    """

    image: np.ndarray
    alternative: str
    caption: str


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side.

    Attributes:
        title: what they have in common, in one line.
        pictures: from left to right.
    """

    title: str
    pictures: tuple[Picture, ...]
    template: ClassVar[str] = "pictures.html"


@dataclass(frozen=True)
class RunCard:
    """The facts of a run, folded until the reader opens them.

    Attributes:
        title: names the run.
        facts: values by name.
        command: repeats the run; empty where it is unknown.
    """

    title: str
    facts: Mapping[str, str]
    command: str = ""
    template: ClassVar[str] = "run_card.html"


@dataclass(frozen=True)
class Folded:
    """Blocks that are folded until the reader opens them.

    Attributes:
        title: in one line.
        blocks: what is folded.
    """

    title: str
    blocks: tuple[Block, ...]
    template: ClassVar[str] = "folded.html"


Block = Text | TableBlock | Plot | Pictures | RunCard | Folded


@dataclass(frozen=True)
class Section:
    """A section with an entry in the contents of its page.

    Attributes:
        title: in a few words.
        blocks: from top to bottom.
    """

    title: str
    blocks: tuple[Block, ...]
