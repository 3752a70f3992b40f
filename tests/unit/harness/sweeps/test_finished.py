"""Records of a store as a sweep needs them."""

from __future__ import annotations

from pathlib import Path

from frbench.harness.storage.result_store import ResultStore
from frbench.harness.sweeps.finished import finished_records
from tests.support.small_sweeps import small_sweep


def test_that_a_record_counts_while_its_scores_are_there(tmp_path: Path) -> None:
    from frbench.harness.evaluation.cell import run_cell
    from frbench.harness.sweeps.built_cells import built

    sweep = small_sweep(tmp_path, "goal=dodging")
    record = run_cell(built(sweep.plan, sweep.plan.cells[0]), sweep.store)
    found = finished_records(ResultStore(tmp_path))
    assert found[record["fingerprint"]].status == "done" and found[record["fingerprint"]].reason == ""
    assert sweep.ended() == {0}
    (tmp_path / "scores" / f"{record['fingerprint']}.parquet").unlink()
    assert not finished_records(ResultStore(tmp_path)) and sweep.ended() == set()
