"""Deleting images that no cell of a sweep needs."""

from __future__ import annotations

from pathlib import Path

from frbench.harness.evaluation.cell import run_cell
from frbench.harness.sweeps.built_cells import built
from frbench.harness.sweeps.submission import Retry, opened
from frbench.harness.sweeps.unneeded_images import UnneededImages
from tests.support.small_sweeps import small_sweep


def test_that_images_stay_until_the_last_cell_that_shares_them_has_a_record(tmp_path: Path) -> None:
    sweep = small_sweep(tmp_path, "defense=none,blur")
    folder = opened(sweep.plan, sweep.store, Retry.FAILED)
    images = tmp_path / "cache" / "adversarial"
    for planned in sweep.plan.cells:
        record = run_cell(built(sweep.plan, planned), sweep.store)
        assert any(images.rglob("*.zst"))
        UnneededImages(folder, sweep.store).drop(planned, record)
    assert not any(images.rglob("*.zst"))
