"""The documentation builds without a warning: every page of the navigation, link, anchor and docstring is found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.documents import ROOT, reference_pages

MKDOCS = Path(sys.prefix) / "docs" / "bin" / "mkdocs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. ``make test`` installs mkdocs in an environment of its own."""
    assert MKDOCS.exists(), f"{MKDOCS} is missing; run: make docs"
    out = tmp_path_factory.mktemp("site")
    words = [str(MKDOCS), "build", "--strict", "--site-dir", str(out)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_that_each_page_of_reference_results_is_on_the_site_with_its_figures(site: Path) -> None:
    for page in reference_pages():
        folder = site / "results" / page.parent.relative_to(ROOT / "results" / "reference")
        assert (folder / "index.html").exists()
        for figure in page.parent.rglob("*.png"):
            assert (folder / figure.relative_to(page.parent)).exists()


def test_that_links_between_repository_files_become_links_between_pages(site: Path) -> None:
    wrong = [page for page in site.rglob("*.html") if '.md"' in page.read_text(encoding="utf-8")]
    assert wrong == []
