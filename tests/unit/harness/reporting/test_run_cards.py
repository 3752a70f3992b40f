"""Run cards are record files that a lookup finds, one for each selected record."""

from __future__ import annotations

import getpass
import json
import platform
from pathlib import Path

import pytest
from support.fake_records import FakeStore, decided
from support.stored_cells import few_cells, stored

from frbench.harness.cli.main import main
from frbench.harness.core.errors import ConfigError, DataMissing
from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.run_cards import write_cards
from frbench.harness.storage.record_lookup import find_record
from frbench.harness.storage.result_store import ResultStore


def test_that_the_command_line_writes_the_card_of_one_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = stored(few_cells(), tmp_path / "results")
    key = store.records()[0]["fingerprint"]
    given = ["report", "format=card", f"fingerprint={key[:8]}", f"paths.results={store.root}", f"out={tmp_path}"]
    assert main(given) == 0
    file, page = map(Path, capsys.readouterr().out.split())
    assert (file.name, page.name) == (f"run_card_{key[:12]}.json", f"run_card_{key[:12]}.md")
    assert f"frbench reproduce {file.name}" in page.read_text(encoding="utf-8")
    found = find_record(ResultStore(tmp_path / "empty"), str(file))
    assert found.store is None
    assert found.record["measurements"] == store.record(key)["measurements"]
    for text in (file.read_text(), page.read_text()):
        assert str(tmp_path) not in text
        assert platform.node() not in text
        assert f"/{getpass.getuser()}" not in text


def test_that_a_card_has_the_flags_of_comparisons(tmp_path: Path) -> None:
    cells = FakeStore()
    weak = decided(cells, {"threat": "adaptive"}, [False] * 40)
    decided(cells, {"threat": "oblivious"}, [True] * 40)
    store = stored(cells, tmp_path / "results")
    given = [f"fingerprint={weak['fingerprint']}", f"paths.results={store.root}", f"out={tmp_path}"]
    assert main(["report", "format=card", *given]) == 0
    (file,) = (tmp_path / "cards").glob("*.json")
    assert json.loads(file.read_text())["run_card"]["flags"] == ["adaptive_weaker_than_oblivious"]


def test_that_a_selection_of_none_or_too_many_is_refused(tmp_path: Path) -> None:
    store = stored(few_cells(), tmp_path / "results")
    with pytest.raises(DataMissing, match="run `frbench run` first"):
        write_cards(store, [], Findings(), tmp_path)
    with pytest.raises(ConfigError, match="fingerprint=DIGITS"):
        write_cards(store, store.records() * 40, Findings(), tmp_path)
    with pytest.raises(DataMissing, match="is gone"):
        write_cards(ResultStore(tmp_path / "empty"), store.records(), Findings(), tmp_path)
