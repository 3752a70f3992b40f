"""Sample images of cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from frbench.harness.storage.sample_files import SampleFiles
from frbench.harness.storage.store_files import StoreFiles

RNG = np.random.default_rng(0)
CLEAN = (RNG.integers(0, 256, (2, 8, 8, 3)) / 255).astype(np.float32)
CHANGED = np.clip(CLEAN + RNG.uniform(-0.01, 0.01, CLEAN.shape), 0, 1).astype(np.float32)


def samples(changed: np.ndarray = CHANGED) -> dict[str, np.ndarray]:
    return {"probe": CLEAN, "adversarial": changed, "index": np.array([4, 7])}


def test_that_clean_images_are_exact_and_changes_far_below_a_gray_level(tmp_path: Path) -> None:
    files = SampleFiles(StoreFiles(tmp_path))
    files.write("a", samples())
    found = files.read("a")
    assert found is not None and np.array_equal(found["probe"], CLEAN) and found["index"].tolist() == [4, 7]
    assert np.abs(found["adversarial"] - CHANGED).max() <= 0.01 / 127 + 1e-6


def test_that_cells_share_equal_images(tmp_path: Path) -> None:
    files = SampleFiles(StoreFiles(tmp_path))
    files.write("a", samples())
    files.write("b", samples(np.flip(CHANGED, axis=0)))
    stacks = [set(files.stacks(name) or ()) for name in "ab"]
    assert len(stacks[0] | stacks[1]) == 3 and len(stacks[0] & stacks[1]) == 1


def test_that_images_without_one_of_their_files_are_missing(tmp_path: Path) -> None:
    files = SampleFiles(StoreFiles(tmp_path))
    assert files.read("a") is None and files.stacks("a") is None
    files.write("a", samples())
    (files.stacks("a") or [])[0].unlink()
    assert files.read("a") is None and not files.are_damaged("a")
