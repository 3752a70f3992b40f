"""Relative links of all documents lead to files, so that they work on GitHub too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.documents import documents, name_of, reference_pages, without_blocks

LINK = re.compile(r"(?:\]\(|<img src=\")([^)\s\"]+)")


@pytest.mark.parametrize("path", [*documents(), *reference_pages()], ids=name_of)
def test_that_relative_links_lead_to_files(path: Path) -> None:
    targets = LINK.findall(without_blocks(path.read_text(encoding="utf-8")))
    local = [target.partition("#")[0] for target in targets if "://" not in target and not target.startswith("#")]
    assert [target for target in local if not (path.parent / target).exists()] == []
