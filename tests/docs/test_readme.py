"""The README is one screen after another, short, and quotes numbers of reference results alone."""

from __future__ import annotations

import re

from support.documents import ROOT, blocks, reference_pages, without_blocks

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_that_the_readme_has_at_most_150_lines() -> None:
    assert len(README.splitlines()) <= 150


def test_that_each_number_of_the_readme_stands_on_a_page_of_reference_results() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in reference_pages())
    numbers = set(re.findall(r"(?<![-.\d])\d+\.\d(?![.\d])", without_blocks(README)))
    assert len(numbers) > 10
    assert {number for number in numbers if not re.search(rf"(?<![.\d]){re.escape(number)}(?!\d)", pages)} == set()


def test_that_the_readme_cites_the_released_version() -> None:
    (citation,) = (block.code for block in blocks(README) if block.language == "bibtex")
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None and f"{{{version[1]}}}" in citation
