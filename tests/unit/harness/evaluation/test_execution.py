"""Batches cover all rows once, in order, and are no larger than the batch size."""

from __future__ import annotations

from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from frbench.harness.evaluation.execution import Execution
from frbench.harness.storage.result_store import ResultStore


@given(st.integers(0, 40), st.integers(1, 12))
def test_batches_cover_all_rows(count: int, batch_size: int) -> None:
    execution = Execution(ResultStore(Path()), 0, batch_size, torch.device("cpu"))
    rows = list(range(count))
    parts = [rows[part] for part in execution.batches(count)]
    assert [row for part in parts for row in part] == rows
    assert all(0 < len(part) <= batch_size for part in parts)
