"""Sample images of cloaked photos."""

from __future__ import annotations

import numpy as np
from support.cloaked_cells import cloaking_cell, framed_by_few, measured, negatives

from frbench.harness.protocols.cloaking.trackers.nearest import NearestNeighbour
from frbench.harness.storage.result_store import ResultStore


def test_that_a_cell_can_do_without_pictures(store: ResultStore) -> None:
    found = measured(cloaking_cell(negatives, protocol={"num_samples": 0}), store)
    assert found["attack"]["asr"] == 1


def test_that_pictures_are_of_users_who_cloak(store: ResultStore) -> None:
    cell = cloaking_cell(framed_by_few, protocol={"tracker": NearestNeighbour(users=2)})
    measured(cell, store)
    kept = store.sample_images(cell.fingerprint())
    assert kept is not None
    assert list(kept["user"]) == [0, 1]
    assert (np.abs(kept["cloaked"] - kept["natural"]).reshape(2, -1).max(axis=1) > 0).all()
