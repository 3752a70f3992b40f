"""The blocks of a page."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from frbench.harness.reporting.html import blocks


def test_every_block_has_a_template_of_its_own() -> None:
    folder = Path(blocks.__file__).parent / "templates"
    templates = [block.template for block in get_args(blocks.Block)]
    assert len(set(templates)) == len(templates)
    assert {path.name for path in folder.glob("*.html")} == {"page.html", *templates}
