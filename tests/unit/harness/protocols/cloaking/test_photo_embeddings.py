"""Embeddings of photos, purified by the tracker's defense."""

from __future__ import annotations

import numpy as np
import torch
from support.cloaked_cells import cloaking_cell

from frbench.defenses.input_transforms.blur import BlurDefense
from frbench.harness.protocols.cloaking.photo_embeddings import PhotoEncoder, Photos
from frbench.harness.storage.result_store import ResultStore


def test_that_purified_photos_are_the_same_in_whatever_part_they_are_asked_for(store: ResultStore) -> None:
    cell, rows = cloaking_cell(None), np.array([3, 4, 30, 49])
    photos = Photos(cell.users.images)
    enrolment = PhotoEncoder(cell.recognizer, BlurDefense().purifier(), photos, cell.execution(store))  # type: ignore[arg-type]
    some, everything = enrolment.images(photos, rows), enrolment.images(photos, np.arange(50))
    assert torch.equal(some, everything[torch.from_numpy(rows)])
