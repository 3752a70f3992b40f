"""The Python in README and docs compiles and runs, each document in a process of its own and from top to bottom."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.documents import blocks, documents, name_of

SMALLER = ("limit=40", "people=30, photos_per_person=2, pairs=60, limit=8")  # the code as printed, on fewer faces
RUN_ELSEWHERE = {"docs/extending.md"}  # test_extending.py runs its code, which is in files of that page
PAGES = [path for path in documents() if name_of(path) not in RUN_ELSEWHERE]


def snippets(path: Path) -> list[str]:
    return [
        block.code for block in blocks(path.read_text(encoding="utf-8")) if block.language == "python" and block.run
    ]


WITH_PYTHON = [path for path in PAGES if snippets(path)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all snippets run, so that one finds the records of another."""
    return tmp_path_factory.mktemp("snippets")


@pytest.mark.parametrize("path", WITH_PYTHON, ids=name_of)
def test_that_the_python_of_a_document_runs(path: Path, folder: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", "\n".join(snippets(path)).replace(*SMALLER)]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_that_the_first_screen_of_the_readme_has_python() -> None:
    assert "README.md" in map(name_of, WITH_PYTHON)
