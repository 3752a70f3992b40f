"""A page in one HTML file that needs no server, no network and no other file: to mail, to archive, to print.

    Page("Report", (Section("Results", (Text(("First sentence.",)), TableBlock(table))),)).write(Path("report.html"))

Nothing on a page runs but the two scripts whose digests its content security policy names: ``page.js``, which sorts and
filters tables and draws plots, and plotly, only on pages with a plot. Tables and pictures need no script.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from frbench.harness.core.atomic import write_atomically
from frbench.harness.reporting.html.blocks import Block, Folded, Plot, Section
from frbench.harness.reporting.html.picture_files import PictureBudget
from frbench.harness.reporting.html.scripts import content_security_policy, json_script, plotly_script

LONGEST = 2000  # characters of a text; the rest is cut
MOST_ROWS = 1000  # of a table; the rest is left out with a note
PICTURE_BYTES = 4_000_000  # of all pictures of a page; those beyond are left out with a note
_FOLDER = Path(__file__).parent / "templates"
_BOLD, _CODE = re.compile(r"\*\*(.+?)\*\*"), re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: of the page.
        sections: from top to bottom.
        opening: paragraphs below the title, see ``Text``.
        footer: the last line.
    """

    title: str
    sections: tuple[Section, ...]
    opening: tuple[str, ...] = ()
    footer: str = ""

    def html(self) -> str:
        """The text of the file.

        Raises:
            ConfigError: the page has a plot, and plotly is not installed.
        """
        scripts = [_file("page.js")]
        if any(isinstance(block, Plot) for block in _all_blocks(self.sections)):
            scripts.insert(0, plotly_script())
        return (
            _environment()
            .get_template("page.html")
            .render(
                page=self,
                policy=content_security_policy(scripts),
                style=Markup(_file("page.css")),
                scripts=[Markup(script) for script in scripts],
                budget=PictureBudget(PICTURE_BYTES),
                plots=_Numbers(),
            )
        )

    def write(self, path: Path) -> Path:
        """Write the page. Returns its path."""
        text = self.html()
        write_atomically(path, lambda temporary: temporary.write_bytes(text.encode("utf-8")))
        return path


class _Numbers:
    """Numbers for the plots of a page: ids never come from a record."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        self._last += 1
        return self._last


def _all_blocks(sections: Iterable[Section]) -> Iterator[Block]:
    waiting = [block for section in sections for block in section.blocks]
    while waiting:
        block = waiting.pop()
        yield block
        if isinstance(block, Folded):
            waiting += block.blocks


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_cut,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"marked": _marked, "json_script": json_script}
    environment.globals |= {"most_rows": MOST_ROWS}
    return environment


def _file(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _cut(value: Any) -> Any:
    """Every text of a template that is no HTML passes here."""
    if isinstance(value, Markup) or not isinstance(value, str) or len(value) <= LONGEST:
        return value
    return f"{value[:LONGEST]} … ({len(value) - LONGEST} more characters)"


def _marked(text: str) -> Markup:
    """``text`` as HTML, in which ``**bold**`` and `` `code` `` have a meaning."""
    escaped = str(escape(_cut(text)))
    return Markup(_CODE.sub(r"<code>\1</code>", _BOLD.sub(r"<strong>\1</strong>", escaped)))
