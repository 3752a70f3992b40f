"""Tables of scores: whole or by column, and never a wrong value from a damaged file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frbench.harness.core.quarantine import Damaged
from frbench.harness.storage import score_tables

TABLE = pd.DataFrame(
    {
        "index": np.arange(9),
        "score": np.where(np.arange(9) % 4, np.linspace(0, 1, 9), np.nan),
        "success": np.arange(9) % 2 == 0,
        "name": [None, "ä", *"bcdefgh"],
        "small": np.arange(9, dtype=np.float32),
    }
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "x.parquet").write_bytes(score_tables.written(TABLE))
    return tmp_path / "x.parquet"


def test_tables_come_back_whole_by_column_and_through_pandas(path: Path) -> None:
    pd.testing.assert_frame_equal(score_tables.read(path).to_pandas(), TABLE)
    pd.testing.assert_frame_equal(score_tables.read(path, ["small", "score"]).to_pandas(), TABLE[["small", "score"]])
    pd.testing.assert_frame_equal(pd.read_parquet(path), TABLE)
    with pytest.raises(KeyError, match="nothing"):
        score_tables.read(path, ["nothing"])
    with pytest.raises(FileNotFoundError):
        score_tables.read(path.with_name("y.parquet"))


@pytest.mark.parametrize("rows", [0, 1])
def test_short_tables_come_back(rows: int, tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(score_tables.written(TABLE.head(rows)))
    pd.testing.assert_frame_equal(score_tables.read(tmp_path / "x.parquet").to_pandas(), TABLE.head(rows))
    assert score_tables.read(tmp_path / "x.parquet", ["score"]).num_rows == rows


def test_any_flipped_bit_of_the_file_is_detected(path: Path) -> None:
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 53):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        for reader in (score_tables.check, score_tables.read):
            with pytest.raises(Damaged):
                reader(path)


def test_a_damaged_file_gives_the_right_columns_or_none(path: Path) -> None:
    whole, wanted = path.read_bytes(), TABLE[["score", "name"]]
    right = 0
    for bit in range(0, 8 * len(whole), 17):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            found = score_tables.read(path, ["score", "name"]).to_pandas()
        except Damaged:
            continue
        pd.testing.assert_frame_equal(found, wanted)
        right += 1
    assert right, "damage of other columns does not matter"


@pytest.mark.parametrize("keep", [0, 4, -1, -100])
def test_a_truncated_file_is_detected(keep: int, path: Path) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    for columns in (None, ["score"]):
        with pytest.raises(Damaged):
            score_tables.read(path, columns)


def test_a_table_without_checksums_is_damaged(tmp_path: Path) -> None:
    TABLE.to_parquet(tmp_path / "x.parquet")
    for columns in (None, ["score"]):
        with pytest.raises(Damaged):
            score_tables.read(tmp_path / "x.parquet", columns)
