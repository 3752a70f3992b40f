"""An export of images says how many pairs have images, and why records have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.fake_records import FakeStore, with_pictures
from support.stored_cells import few_cells, stored

from frbench.harness.core.errors import ConfigError, DataMissing
from frbench.harness.reporting.export.images import export_images, sampled
from frbench.harness.storage.result_store import ResultStore


@pytest.fixture
def cells() -> FakeStore:
    cells = few_cells()
    key = next(key for key, record in cells.cells.items() if record["names"]["attack"] == "pgd")
    pictured = with_pictures(cells)
    pictured.images = {key: pictured.images[key]}
    return pictured


def test_that_sample_images_are_named_as_their_photos(cells: FakeStore, tmp_path: Path) -> None:
    store = stored(cells, tmp_path / "results")
    done = export_images(store, None, sampled(store), tmp_path / "out", overwrite=False)
    assert (done.pairs, done.attacked) == (2, 5)
    assert dict(done.reasons) == {
        "crashed": 1,
        "no sample images: protocol.num_samples=0, a protocol that keeps none, or they were deleted": 1,
    }
    (folder,) = done.folders
    assert folder.name.startswith("pgd-adaptive-jpeg-")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == [
        "adversarial/Ann/Ann_0001_pair_0.png",
        "adversarial/Ann/Ann_0001_pair_1.png",
        "pairs.csv",
        "probe/Ann/Ann_0001.png",
        "reference/Bo/Bo_0001.png",
    ]


def test_that_hostile_names_stay_in_the_folder(cells: FakeStore, tmp_path: Path) -> None:
    for key, frame in cells.frames.items():
        if "probe" in frame:
            frame["probe"] = ["../../../escaped.jpg", "/tmp/escaped.png", "C:\\escaped"]
            cells.cells[key]["names"] = cells.cells[key]["names"] | {"attack": "../../up", "defense": "/abs"}
    store = stored(cells, tmp_path / "results")
    done = export_images(store, None, sampled(store), tmp_path / "out", overwrite=False)
    assert done.pairs == 2
    made = set(tmp_path.rglob("*escaped*"))
    assert made
    assert all(path.is_relative_to(done.folders[0]) for path in made)
    assert done.folders[0].parent == tmp_path / "out"


def test_that_an_existing_folder_is_refused_unless_asked(cells: FakeStore, tmp_path: Path) -> None:
    store = stored(cells, tmp_path / "results")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("precious")
    with pytest.raises(ConfigError, match="overwrite=true"):
        export_images(store, None, sampled(store), tmp_path / "out", overwrite=False)
    for _ in range(2):
        export_images(store, None, sampled(store), tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "mine.txt").read_text() == "precious"


def test_that_images_of_cloaks_have_the_numbers_of_their_photos(tmp_path: Path) -> None:
    cells = few_cells()
    key = next(iter(cells.cells))
    stack = np.zeros((2, 8, 8, 3), np.float32)
    cells.images[key] = {"natural": stack, "cloaked": stack, "index": np.array([1, 2]), "user": np.array([0, 1])}
    store = stored(cells, tmp_path / "results")
    done = export_images(store, {"fingerprint": key}, sampled(store), tmp_path / "out", overwrite=False)
    assert {path.name for path in done.folders[0].iterdir()} == {"natural", "cloaked", "pairs.csv"}


def test_that_an_empty_store_is_named(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "empty")
    with pytest.raises(DataMissing, match="paths.results=FOLDER"):
        export_images(store, None, sampled(store), tmp_path / "out", overwrite=False)
