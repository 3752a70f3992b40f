"""A result store for the tests of cloaking."""

from __future__ import annotations

from pathlib import Path

import pytest

from frbench.harness.storage.result_store import ResultStore


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")
