"""Shared fixtures. Real faces and recognizers come from FRBENCH_DATA and are never committed."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real faces and recognizers, or a skip with the reason."""
    root = os.environ.get("FRBENCH_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("FRBENCH_DATA is not set to a folder with the real faces and recognizers")
    return Path(root).resolve()
