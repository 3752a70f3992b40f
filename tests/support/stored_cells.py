"""Fabricated cells in a result store on the disk, as a run would have left them."""

from __future__ import annotations

from pathlib import Path

from support.fake_records import NAMES, FakeStore, decided

from frbench.harness.storage.records import plain
from frbench.harness.storage.result_store import ResultStore

PHOTOS = {"probe": ["Ann/Ann_0001.jpg", "Ann/Ann_0001.jpg", "Bo/Bo_0002.jpg"], "reference": ["Bo/Bo_0001.jpg"] * 3}
COSTS = {"queries": [20, 31, 100], "linf": [1.0, float("nan"), 9.5], **PHOTOS}


def stored(cells: FakeStore, folder: Path) -> ResultStore:
    """A result store with the cells of ``cells``."""
    store = ResultStore(folder)
    for key, record in cells.cells.items():
        if key in cells.frames:
            store.write_scores(key, cells.frames[key])
        store.write_record(plain(record))
        if key in cells.images:
            store.write_sample_images(key, cells.images[key])
    return store


def few_cells() -> FakeStore:
    """Three cells: done with photos, done without them and with another setting, and crashed."""
    cells = FakeStore()
    decided(cells, {}, [True, True, False], COSTS, {"l2": {"median": float("inf")}}, flags=["boundary_attack"])
    decided(cells, {"attack": "fgsm"}, [True, False], {"queries": [1, 1]}, settings={"attack.steps": 3})
    cells.add(NAMES | {"attack": "nes"}, status="crashed", reason="Traceback\nValueError: no\n")
    return cells
