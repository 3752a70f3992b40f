"""Cells of reference results: CSV, and records that replace cells measured before."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from support.fake_records import FakeStore

from frbench.harness.core.errors import ConfigError, DataMissing
from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.reference_cells import facts, measured_cells, merge, read_cells, write_cells

CELL = {"attack": "pgd", "goal": "dodging", "threat": "oblivious", "budget": "linf_2", "defense": "none"}


def record(store: FakeStore, asr: float, names: dict[str, str] | None = None, **card: Any) -> dict[str, Any]:
    measurements = {"clean": {"accuracy": 0.99}, "attack": {"asr": asr, "at_far": {"0.01": {"reason": "too few"}}}}
    found = store.add(CELL | (names or {}), {"dataset.limit": 40}, measurements=measurements)
    found["card"] |= {"git": "0123456789abcdef", "started": "2026-01-02T03:04:05+00:00", "device": "cpu", "threads": 2}
    found["card"] |= {"versions": {"torch": "2.6"}, "digests": {"data": "d" * 64, "recognizer": "e" * 64}} | card
    return found


def transcribed(asr: float, **changes: Any) -> dict[str, Any]:
    labels = {**CELL, "dataset": "lfw(limit=40)", "recognizer": "tiny", "protocol": "verification"}
    return {**labels, "asr": asr, "source": "transcribed", "commit": "1234567", **changes}


def test_a_record_replaces_the_cell_with_its_labels_and_others_follow() -> None:
    store = FakeStore()
    record(store, 0.5)
    record(store, 0.75, {"attack": "fgsm"})
    other = transcribed(0.1, budget="linf_8")
    paired = transcribed(float("nan"), against="pin", lost_alone=3)
    cells = merge(pd.DataFrame([transcribed(0.4), other, paired]), measured_cells(store.records(), Findings()))
    assert cells["asr"].tolist()[:2] == [0.5, 0.1] and cells["asr"].tolist()[3] == 0.75
    assert cells["source"].tolist() == ["measured", "transcribed", "transcribed", "measured"]
    assert cells["commit"].tolist() == ["0123456", "1234567", "1234567", "0123456"]
    assert cells["lost_alone"].tolist()[2] == 3


def test_records_with_the_same_labels_are_refused() -> None:
    store = FakeStore()
    record(store, 0.5)
    measured = measured_cells(store.records(), Findings())
    with pytest.raises(ConfigError, match="several records have the labels lfw.limit=40., tiny, verification, dodging"):
        merge(measured, pd.concat([measured, measured]))


def test_collecting_the_same_records_again_changes_nothing() -> None:
    store = FakeStore()
    record(store, 1 / 3)
    measured = measured_cells(store.records(), Findings())
    once = write_cells(merge(pd.DataFrame([transcribed(0.4), transcribed(0.1, budget="linf_8")]), measured))
    assert write_cells(merge(read_cells(once), measured)) == once


def test_the_csv_leaves_out_reasons_and_empty_columns_and_keeps_ten_digits() -> None:
    store = FakeStore()
    record(store, 1 / 3)
    text = write_cells(measured_cells(store.records(), Findings()))
    header = text.splitlines()[0].split(",")
    assert "0.3333333333" in text and header[-2:] == ["source", "commit"]
    assert not [name for name in header if name.endswith("reason") or name in ("tracker", "surrogate", "flags")]


def test_a_commit_of_digits_stays_text() -> None:
    cells = pd.DataFrame([transcribed(0.5, commit="12345e7"), transcribed(0.5, budget="linf_4", commit="0000123")])
    assert read_cells(write_cells(cells))["commit"].tolist() == ["12345e7", "0000123"]


def test_unfinished_records_are_no_cells() -> None:
    store = FakeStore()
    store.add(CELL, status="crashed", reason="out of memory")
    with pytest.raises(DataMissing, match="no finished record"):
        measured_cells(store.records(), Findings())


def test_the_facts_sum_the_hours_and_name_the_digests_by_option() -> None:
    store = FakeStore()
    record(store, 0.5, seconds=1800)
    record(store, 0.5, {"attack": "fgsm"}, seconds=3600, started="2026-01-03T00:00:00+00:00")
    found = facts(store.records())
    assert (found["hours"], found["date"], found["commit"]) == (1.5, "2026-01-03", "0123456789abcdef")
    assert found["digests"] == {"lfw": "d" * 64, "tiny": "e" * 64} and found["machine"] == "cpu, threads: 2"
