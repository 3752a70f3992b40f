"""Sample images with what each shows."""

from __future__ import annotations

import numpy as np
import pytest
from support.fake_records import FakeStore, sweep, with_pictures

from frbench.harness.reporting.views.sample_images import strips
from frbench.harness.storage.records import Kind


@pytest.fixture(scope="module")
def store() -> FakeStore:
    return with_pictures(sweep(("pgd",), ("linf_8",)))


def test_a_pair_has_four_images_with_scores_and_alternatives(store: FakeStore) -> None:
    record = next(r for r in store.records() if r["fingerprint"] in store.images)
    samples = store.images[record["fingerprint"]]
    first, second = strips(store, record, top=5)
    assert first.title.endswith(f"pair {samples['index'][0]}")
    assert [image.alternative.split(" ")[0] for image in first.images] == ["clean", "face", "difference", "reference"]
    assert f"score {samples['clean_score'][0]:.3f}" in first.images[0].caption
    assert first.images[1].caption.endswith("success" if samples["success"][0] else "failure")
    assert np.array_equal(second.images[3].image, samples["reference"][1])


def test_the_difference_is_around_gray_and_as_large_as_it_says(store: FakeStore) -> None:
    record = next(r for r in store.records() if r["fingerprint"] in store.images)
    samples = dict(store.images[record["fingerprint"]])
    samples["adversarial"] = samples["probe"] + np.float32(4 / 255)
    quiet = FakeStore()
    quiet.images[record["fingerprint"]] = samples
    (strip,) = strips(quiet, record, top=1)
    assert strip.images[2].caption == "difference × 16, L∞\u00a04.0/255"
    assert np.allclose(strip.images[2].image, 0.5 + 16 * 4 / 255, atol=1e-4)


def test_no_images_make_no_strip(store: FakeStore) -> None:
    record = next(r for r in store.records() if r["fingerprint"] not in store.images)
    assert not list(strips(store, record, top=1))


def test_a_cloaked_photo_has_the_images_of_a_user(store: FakeStore) -> None:
    record = next(iter(store.records())) | {"kind": Kind.CLOAKING}
    images = np.random.default_rng(0).random((3, 2, 8, 8, 3))
    own = FakeStore()
    own.images[record["fingerprint"]] = dict(zip(("natural", "cloaked", "purified"), images, strict=True))
    own.images[record["fingerprint"]]["user"] = np.array([7, 9])
    (strip,) = strips(own, record, top=1)
    assert strip.title.endswith("user 7")
    assert [image.caption.split(" ")[0] for image in strip.images] == ["original", "cloaked", "cloak", "purified"]
