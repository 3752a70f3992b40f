"""Files of a stack of decoded images."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from frbench.datasets.io import stack_files
from frbench.harness.core.quarantine import Damaged
from frbench.harness.images.aligned_images import SIDE

PIXELS = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / stack_files.IMAGES).write_bytes(stack_files.header(2) + PIXELS.tobytes())
    facts = {"shape": [2, SIDE, SIDE, 3], "pixels_sha256": hashlib.sha256(PIXELS.tobytes()).hexdigest()}
    stack_files.finish(tmp_path, {"kept": np.array([0, 2])}, facts)
    return tmp_path


def test_that_a_stack_is_read_as_it_was_written(folder: Path) -> None:
    found = stack_files.read(folder)
    assert np.array_equal(found.images, PIXELS) and found.tables["kept"].tolist() == [0, 2]


@pytest.mark.parametrize("name", [stack_files.IMAGES, stack_files.TABLES, stack_files.FACTS])
@pytest.mark.parametrize("place", ["begin", "end"])
def test_that_a_changed_byte_of_any_file_is_damage(name: str, place: str, folder: Path) -> None:
    data = bytearray((folder / name).read_bytes())
    data[12 if place == "begin" else -12] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(Damaged):
        stack_files.read(folder)


@pytest.mark.parametrize("name", [stack_files.IMAGES, stack_files.TABLES, stack_files.FACTS])
def test_that_a_missing_or_cut_file_is_damage(name: str, folder: Path) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    with pytest.raises(Damaged):
        stack_files.read(folder)
    (folder / name).unlink()
    with pytest.raises(Damaged):
        stack_files.read(folder)
