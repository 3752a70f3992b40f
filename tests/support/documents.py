"""The documents of the repository and the code blocks in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```", re.DOTALL | re.M)
_NOT_RUN = re.compile(r"<!-- not run: [^\n]+ -->\s*$")


class Block(NamedTuple):
    """A fenced block. run: false where a comment ``<!-- not run: reason -->`` stands before it."""

    language: str
    code: str
    run: bool


def documents() -> list[Path]:
    """README, the other documents at the top, and the pages of ``docs/``."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def reference_pages() -> list[Path]:
    """The generated pages of reference results: the list of studies and each study."""
    return sorted((ROOT / "results" / "reference").rglob("README.md"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a document."""
    found = []
    for match in _FENCE.finditer(text):
        lines = [line.removeprefix(match["indent"]) for line in match["code"].splitlines()]
        run = _NOT_RUN.search(text, 0, match.start()) is None
        found.append(Block(match["language"], "\n".join(lines) + "\n", run))
    return found


def without_blocks(text: str) -> str:
    """A document without its fenced blocks."""
    return _FENCE.sub("", text)
