"""Sample images of the same pairs in two runs."""

from __future__ import annotations

import numpy as np
from support.comparisons import compared
from support.fake_records import FakeStore, decided

from frbench.harness.reporting.views.comparison import Comparison
from frbench.harness.reporting.views.comparison_pictures import picture_strips


def two() -> Comparison:
    store = FakeStore()
    won = {"none": [True, True, True, False], "jpeg": [True, True, False, False]}
    records = [decided(store, {"defense": defense}, each) for defense, each in won.items()]
    return compared(store, *records)


def samples(index: list[int], seed: int) -> dict[str, np.ndarray]:
    rng, count = np.random.default_rng(seed), len(index)
    images = {name: rng.random((count, 4, 4, 3)).astype(np.float32) for name in ("probe", "adversarial", "reference")}
    return images | {
        "index": np.array(index),
        "adversarial_score": np.full(count, 0.25),
        "threshold": np.full(count, 0.3),
    }


def test_that_flipped_pairs_come_first_and_only_those_that_both_runs_have() -> None:
    a, b = samples([0, 1, 2], 0), samples([3, 2, 1], 1)
    strips = picture_strips(two(), a, b, most=9)
    assert [each.title for each in strips] == ["pair 2: A alone succeeds", "pair 1: both attacks succeed"]
    clean, first, second, change, other, reference = strips[0].images
    np.testing.assert_array_equal(clean.image, a["probe"][2])
    np.testing.assert_array_equal(first.image, a["adversarial"][2])
    np.testing.assert_array_equal(second.image, b["adversarial"][1])
    np.testing.assert_array_equal(reference.image, a["reference"][2])
    assert first.caption.endswith("success") and second.caption.endswith("failure")
    assert change.caption.startswith("change in A") and other.caption.startswith("change in B")
    assert all(each.alternative for each in strips[0].images)
    assert len(picture_strips(two(), a, b, most=1)) == 1


def test_that_runs_without_sample_images_have_no_pictures() -> None:
    assert picture_strips(two(), None, samples([0], 0), 4) == ()
    assert picture_strips(two(), samples([0], 0), {"user": np.array([1])}, 4) == ()
