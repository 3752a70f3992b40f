"""Arrays in sealed files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from frbench.harness.core.quarantine import Damaged
from frbench.harness.storage import array_files


def arrays() -> dict[str, np.ndarray]:
    return {"images": np.arange(24, dtype=np.float32).reshape(2, 3, 4)[:, ::-1], "rows": np.array([3, 1], np.int64)}


def test_that_arrays_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors.zst"
    path.write_bytes(array_files.written(arrays()))
    found = array_files.read(path)
    assert all(np.array_equal(found[name], array) for name, array in arrays().items())
    array_files.check(path)


def test_that_a_file_that_was_cut_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors.zst"
    path.write_bytes(array_files.written(arrays())[:-1])
    for use in (array_files.read, array_files.check):
        with pytest.raises(Damaged):
            use(path)


@pytest.mark.skipif(shutil.which("zstd") is None, reason="the program zstd is not installed")
def test_that_zstd_unpacks_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors.zst"
    path.write_bytes(array_files.written(arrays()))
    unpacked = subprocess.run(["zstd", "-dc", str(path)], capture_output=True, check=True).stdout
    assert set(load(unpacked)) == set(arrays())
