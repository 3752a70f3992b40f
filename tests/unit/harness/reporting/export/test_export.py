"""Exports hold what the records and scores hold, are never half written, and replace nothing without being asked."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.stored_cells import few_cells, stored

from frbench.harness.core.errors import ConfigError, DataMissing, DiskFull
from frbench.harness.reporting.crosscheck import compare
from frbench.harness.reporting.export.export import export_parquet, export_sqlite
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.tidy_table import tidy
from frbench.harness.storage.records import select
from frbench.harness.storage.result_store import ResultStore


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return stored(few_cells(), tmp_path / "results")


def query(path: Path, text: str) -> pd.DataFrame:
    with closing(sqlite3.connect(path)) as database:
        return pd.read_sql_query(text, database)


def exported(store: ResultStore, folder: Path) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Records and pairs, as SQLite and as Parquet has them."""
    sqlite = export_sqlite(store, None, folder / "all.sqlite", overwrite=False)
    parquet = export_parquet(store, None, folder / "all", overwrite=False)
    assert (sqlite.records, sqlite.pairs) == (parquet.records, parquet.pairs) == (3, 5)
    assert [path.name for path in parquet.files] == ["records.parquet", "pairs.parquet"]
    tables = [query(folder / "all.sqlite", f"SELECT * FROM {name}") for name in ("records", "pairs")]
    return [(tables[0], tables[1]), tuple(map(pd.read_parquet, parquet.files))]


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal, with NaN, None and an absent value alike, and truth values as numbers."""
    missing = [each is None or (isinstance(each, float) and math.isnan(each)) for each in (a, b)]
    return all(missing) if any(missing) else bool(a == b)


def test_that_records_have_every_value_of_the_tidy_table(store: ResultStore, tmp_path: Path) -> None:
    records = select(store.records(), None)
    frame = tidy(records, compare(records, Outcomes(store.scores)))
    for found, _ in exported(store, tmp_path):
        assert found["record"].tolist() == [0, 1, 2]
        for name in frame:
            infinite = frame[name].replace({"inf": math.inf})
            assert all(map(same, found[name], infinite)), name
    assert frame["l2_median"].tolist().count("inf") == 1


def test_that_pairs_have_every_value_of_the_scores(store: ResultStore, tmp_path: Path) -> None:
    for records, pairs in exported(store, tmp_path):
        for number, key in zip(records["record"], records["fingerprint"], strict=True):
            scores, found = store.scores(key), pairs[pairs["record"] == number]
            assert len(found) == (0 if scores is None else len(scores))
            for name in () if scores is None else scores:
                assert all(map(same, found["pair" if name == "index" else name], scores[name])), name


def test_that_settings_options_and_flags_are_columns(store: ResultStore, tmp_path: Path) -> None:
    for records, _ in exported(store, tmp_path):
        row = records.set_index("option_attack")
        assert row["setting_attack_steps"].dropna().to_dict() == {"fgsm": 3}
        assert row["flag_boundary_attack"].to_dict() == {"pgd": True, "fgsm": False, "nes": False}
        assert row["status"].to_dict() == {"pgd": "done", "fgsm": "done", "nes": "crashed"}
        assert row["reason"]["nes"] == "ValueError: no"


def test_that_a_database_has_typed_columns_and_indexes(store: ResultStore, tmp_path: Path) -> None:
    export_sqlite(store, None, tmp_path / "all.sqlite", overwrite=False)
    types = query(tmp_path / "all.sqlite", "SELECT name, type FROM pragma_table_info('records')")
    found = dict(zip(types["name"], types["type"], strict=True))
    assert [found[name] for name in ("record", "asr", "asr_denominator", "defense")] == [
        "INTEGER",
        "REAL",
        "INTEGER",
        "TEXT",
    ]
    indexed = query(
        tmp_path / "all.sqlite",
        "SELECT m.tbl_name || '.' || i.name AS place FROM sqlite_master m, pragma_index_info(m.name) i "
        "WHERE m.type = 'index'",
    )
    assert {"records.fingerprint", "records.status", "records.defense", "pairs.record", "pairs.pair"} <= {
        *indexed["place"]
    }
    joined = "SELECT sum(success) AS won FROM pairs JOIN records USING (record) WHERE option_attack = 'pgd'"
    assert query(tmp_path / "all.sqlite", joined)["won"].tolist() == [2]


def test_that_where_selects_records_and_their_pairs(store: ResultStore, tmp_path: Path) -> None:
    done = export_parquet(store, {"attack": "fgsm"}, tmp_path / "few", overwrite=False)
    assert (done.records, done.pairs) == (1, 2)
    assert "linf" not in pd.read_parquet(tmp_path / "few" / "pairs.parquet")
    with pytest.raises(ConfigError, match="matches no record"):
        export_parquet(store, {"attack": "absent"}, tmp_path / "none", overwrite=False)


def test_that_an_existing_file_is_replaced_only_when_asked(store: ResultStore, tmp_path: Path) -> None:
    path = tmp_path / "mine.sqlite"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="overwrite=true"):
        export_sqlite(store, None, path, overwrite=False)
    assert path.read_text() == "precious"
    export_sqlite(store, None, path, overwrite=True)
    assert query(path, "SELECT count(*) AS n FROM records")["n"].tolist() == [3]
    with pytest.raises(ConfigError, match="is a folder"):
        export_sqlite(store, None, tmp_path, overwrite=True)


def test_that_a_failed_export_leaves_nothing(
    store: ResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr("frbench.harness.reporting.export.sqlite_file._index", full)
    with pytest.raises(DiskFull, match="make room"):
        export_sqlite(store, None, tmp_path / "out" / "all.sqlite", overwrite=False)
    assert list((tmp_path / "out").iterdir()) == []


def test_that_damaged_scores_are_left_out(
    store: ResultStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    damaged = next((tmp_path / "results" / "scores").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-40])
    done = export_parquet(store, None, tmp_path / "out", overwrite=False)
    assert done.records == 3
    assert done.pairs in (2, 3)
    assert "quarantine" in capfd.readouterr().err


def test_that_a_store_without_records_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="paths.results=FOLDER"):
        export_sqlite(ResultStore(tmp_path / "empty"), None, tmp_path / "all.sqlite", overwrite=False)
