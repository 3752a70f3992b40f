"""A linear probe recognizes cloaks that frame or resize the photo."""

from __future__ import annotations

import numpy as np
import pytest
from support.cloaked_cells import cloaking_cell, frame, framed_by_few, measured, users

from frbench.harness.protocols.cloaking.border_probe import border_accuracy
from frbench.harness.protocols.cloaking.trackers.nearest import NearestNeighbour
from frbench.harness.storage.result_store import ResultStore


def test_that_framed_cloaks_are_told_by_their_border_and_honest_ones_are_not(store: ResultStore) -> None:
    pairs = users(people=12, shots=8, spread=40)
    photos = np.kron(pairs.images, np.ones((1, 5, 5, 1), np.uint8))
    noise = np.random.default_rng(1).integers(-12, 13, photos.shape)
    honest = np.clip(photos + noise, 0, 255).astype(np.uint8)
    framed = photos.mean(axis=(1, 2), keepdims=True).astype(np.uint8) * np.ones_like(photos)
    framed[:, 10:-10, 10:-10] = honest[:, 10:-10, 10:-10]
    assert border_accuracy(photos, framed, pairs.identity) > 0.9  # type: ignore[operator]
    assert abs(border_accuracy(photos, honest, pairs.identity) - 0.5) < 0.1  # type: ignore[operator]


def test_that_a_framed_set_is_flagged(store: ResultStore) -> None:
    found = measured(cloaking_cell(frame), store)
    assert found["attack"]["border_probe_accuracy"] > 0.9
    assert "geometry_leak" in found["flags"]


def test_that_photos_that_nobody_cloaked_hide_no_frame(store: ResultStore) -> None:
    """Nor do they count in sizes and fidelity: all are those of a set that holds the three users' cloaks alone."""
    few = {"protocol": {"tracker": NearestNeighbour(users=3)}}
    found = measured(cloaking_cell(framed_by_few, data=users(people=12), **few), store)
    assert found["attack"]["border_probe_accuracy"] > 0.9
    assert "geometry_leak" in found["flags"]
    assert "left_natural" not in found["flags"]
    everybody = measured(cloaking_cell(frame, data=users(people=12), **few), store)
    for name in ("border_probe_accuracy", "fidelity", "linf", "dssim", "photos", "left_natural"):
        assert everybody["attack"][name] == found["attack"][name]


def test_that_a_user_whose_photos_stay_natural_hides_no_frame_and_is_counted(store: ResultStore) -> None:
    found = measured(cloaking_cell(framed_by_few, data=users(people=12)), store)
    attack = found["attack"]
    assert attack["border_probe_accuracy"] > 0.9
    assert attack["left_natural"] == pytest.approx(0.75 * attack["photos"], abs=10)
    assert {"geometry_leak", "left_natural"} <= set(found["flags"])
