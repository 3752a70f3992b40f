"""Adversarial images kept as changes of the clean ones: the same bits come back, from little room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from frbench.harness.images.delta_coding import decode, encode, is_based_on
from frbench.harness.storage.result_store import ResultStore

PIXELS = st.floats(0, 1, width=32) | st.sampled_from([-0.0, 1e-45, 1e-38, 1 / 255, 1 - 2**-24])
STACKS = arrays(np.float32, (2, 3, 4, 4), elements=PIXELS)


def faces(count: int = 8) -> np.ndarray:
    levels = np.random.default_rng(0).integers(0, 256, (count, 3, 112, 112))
    return (levels / np.float32(255)).astype(np.float32)


@settings(max_examples=60)
@given(STACKS, STACKS)
def test_that_every_image_comes_back_bit_for_bit(images: np.ndarray, clean: np.ndarray) -> None:
    found = decode(encode(images, clean), clean)
    assert found is not None and found.dtype == np.float32
    assert np.array_equal(found.view(np.int32), images.view(np.int32))


def test_that_images_of_other_clean_ones_are_not_taken_for_these() -> None:
    clean = faces()
    other = clean.copy()
    other[3, 1, 7, 9] = np.nextafter(other[3, 1, 7, 9], np.float32(2))
    arrays = encode(clean, clean)
    assert is_based_on(arrays, clean) and not is_based_on(arrays, other)
    with pytest.raises(ValueError, match="other clean images"):
        decode(arrays, other)


@pytest.mark.parametrize(("steps", "share"), [(1, 0.15), (20, 0.25)])
def test_that_images_within_a_budget_take_a_fraction_of_their_room(steps: int, share: float, tmp_path: Path) -> None:
    clean, random = faces(), np.random.default_rng(1)
    images = clean
    for _ in range(steps):
        step = np.float32(4 / 255 * 1.5 / steps) * random.choice(np.float32([-1, 1]), clean.shape)
        images = np.clip(images + step, np.maximum(clean - 4 / 255, 0), np.minimum(clean + 4 / 255, 1), dtype="f4")
    store = ResultStore(tmp_path)
    store.get_or_make("adversarial", "plain", lambda: {"images": images})
    store.get_or_make("adversarial", "compact", lambda: encode(images, clean))
    plain, compact = (tmp_path / "cache" / "adversarial" / f"{name}.safetensors.zst" for name in ("plain", "compact"))
    assert compact.stat().st_size < share * images.nbytes < plain.stat().st_size
    kept = store.get_or_make("adversarial", "compact", dict).arrays
    assert np.array_equal(decode(kept, clean), images)
