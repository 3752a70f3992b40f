"""A results folder after a run: no lock file, no temporary file, and a cell with a damaged file runs again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import LinearRecognizer, random_pair_set
from support.toy_cells import toy_cell

from frbench.harness.evaluation.cell import run_cell
from frbench.harness.storage.result_store import ResultStore


def cell():  # type: ignore[no-untyped-def]
    weights = torch.randn(3 * 16 * 16, 12, generator=torch.Generator().manual_seed(0))
    return toy_cell(random_pair_set(size=16), LinearRecognizer(weights))


def without_card(record: dict) -> dict:
    return {key: value for key, value in record.items() if key not in ("card", "checksum")}


def test_a_run_leaves_no_lock_and_no_temporary_file(tmp_path: Path) -> None:
    assert run_cell(cell(), ResultStore(tmp_path))["status"] == "done"
    left = [path for path in tmp_path.rglob("*") if path.suffix in (".lock", ".lease", ".tmp")]
    assert left == [] and {path.name for path in tmp_path.iterdir()} >= {"runs", "scores", "cache", "store.json"}


@pytest.mark.parametrize(
    "files", ["runs/*.json", "scores/*.parquet", "sample_images/images/*.zst", "cache/adversarial/*/*.zst"]
)
def test_a_cell_with_a_damaged_file_has_the_same_record_again(
    files: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = ResultStore(tmp_path)
    before = run_cell(cell(), store)
    path = next(iter(sorted(tmp_path.glob(files))))
    path.write_bytes(path.read_bytes()[:-3])
    if "cache" in files:
        next(tmp_path.glob("runs/*.json")).unlink()
    again = run_cell(cell(), store)
    assert without_card(again) == without_card(before) and path.exists()
    assert str(path) in capfd.readouterr().err
    assert (tmp_path / "quarantine" / path.relative_to(tmp_path)).exists()
