"""Sample images in 8 bits: gray levels stay exact, and an amplified difference shows no rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from frbench.harness.reporting.amplification import amplification
from frbench.harness.storage.result_store import ResultStore

LEVELS = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
CLEAN = LEVELS.astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("radius", [0.001, 0.5, 2.0, 8.0, 64.0])
def test_the_amplified_difference_of_the_stored_images_is_that_of_the_originals(radius: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).uniform(-radius, radius, CLEAN.shape).astype(np.float32) / 255
    adversarial = np.clip(CLEAN + noise, 0, 1)
    store = ResultStore(tmp_path)
    store.write_sample_images("a", {"reference": CLEAN[::-1], "probe": CLEAN, "adversarial": adversarial})
    found = store.sample_images("a")
    assert found is not None
    assert np.array_equal(found["probe"], CLEAN) and np.array_equal(found["reference"], CLEAN[::-1])
    before, after = adversarial - CLEAN, found["adversarial"] - found["probe"]
    assert found["adversarial"].dtype == np.float32
    factor = amplification([before])
    assert np.abs(factor * (after - before)).max() <= 0.5 / 255 + 1e-6, "half a gray level of the amplified picture"
    assert np.abs(after - before).max() <= np.abs(before).max() / 250 + 1e-7, "and the resolution of float32"


def test_stacks_have_eight_bits_and_cells_share_equal_ones(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for name, shift in (("a", 0.01), ("b", 0.02)):
        store.write_sample_images(name, {"probe": CLEAN, "adversarial": np.clip(CLEAN + shift, 0, 1)})
    stacks = list((tmp_path / "sample_images" / "images").iterdir())
    assert len(stacks) == 3 and all(path.stat().st_size < LEVELS.nbytes + 400 for path in stacks)


@pytest.mark.parametrize("count", [0, 2])
def test_images_without_a_neighbour_in_gray_levels_come_back_exactly(count: int, tmp_path: Path) -> None:
    images = np.random.default_rng(2).random((count, 4, 4, 3), np.float32)
    ResultStore(tmp_path).write_sample_images("a", {"natural": images, "index": np.arange(count)})
    found = ResultStore(tmp_path).sample_images("a")
    assert found is not None and np.array_equal(found["natural"], images) and len(found["index"]) == count


def test_images_that_do_not_change_come_back_exactly(tmp_path: Path) -> None:
    almost = CLEAN + np.float32(1e-7)
    ResultStore(tmp_path).write_sample_images("a", {"probe": CLEAN, "same": CLEAN, "almost": almost})
    found = ResultStore(tmp_path).sample_images("a")
    assert found is not None and np.array_equal(found["same"], CLEAN)
    assert np.allclose(found["almost"], almost, atol=2e-9)
