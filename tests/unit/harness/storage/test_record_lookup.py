"""Records by the beginning of a fingerprint or by a file, and one line on what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from frbench.harness.core.errors import ConfigError, CorruptFile, DataMissing, FrbenchError
from frbench.harness.storage import record_files, sealed_json
from frbench.harness.storage.record_lookup import find_record
from frbench.harness.storage.result_store import SCHEMA, ResultStore

ONE, TWIN, OTHER = f"{'ab' * 5}{'1' * 54}", f"{'ab' * 5}{'2' * 54}", "cd" * 32


def record(fingerprint: str, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "fingerprint": fingerprint,
        "kind": "verification",
        "status": "done",
        "reason": None,
        "names": {"attack": "pgd", "defense": "jpeg"},
        "measurements": None,
        "flags": [],
        "card": {"config": {"seed": 0}},
    }
    return found | {"settings": {}, "hyperparameters": {}} | changes


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    store = ResultStore(tmp_path / "results")
    for fingerprint in (ONE, TWIN, OTHER):
        store.write_record(record(fingerprint))
    return store


def message(store: ResultStore, name: str, kind: type[FrbenchError]) -> str:
    with pytest.raises(kind) as error:
        find_record(store, name)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("digits", [8, 20, 64])
def test_that_the_beginning_of_a_fingerprint_finds_the_whole_record(store: ResultStore, digits: int) -> None:
    found = find_record(store, OTHER[:digits])
    assert found.record == store.record(OTHER) and found.store is store
    assert found.record["card"]["config"] == {"seed": 0}


def test_that_the_candidates_of_an_ambiguous_beginning_can_be_typed(store: ResultStore) -> None:
    text = message(store, ONE[:8], DataMissing)
    assert "more than one record" in text and OTHER[:8] not in text and "pgd jpeg" in text
    for fingerprint in (ONE, TWIN):
        shown = next(word for word in text.replace(",", "").split() if fingerprint.startswith(word) and len(word) > 8)
        assert find_record(store, shown).record["fingerprint"] == fingerprint


def test_that_an_unknown_beginning_names_records_that_there_are(store: ResultStore) -> None:
    text = message(store, "0" * 8, DataMissing)
    assert "no record" in text and OTHER[:8] in text
    assert "no records" in message(ResultStore(store.root / "empty"), "0" * 8, DataMissing)


@pytest.mark.parametrize("name", ["abababa", "../results", "", "runs", "*", "AB" * 5, "/etc"])
def test_that_anything_else_says_what_to_give(store: ResultStore, name: str) -> None:
    assert "8 digits" in message(store, name, ConfigError)


def test_that_a_record_file_brings_its_own_store_or_none(store: ResultStore, tmp_path: Path) -> None:
    elsewhere, alone = ResultStore(tmp_path / "empty"), tmp_path / "mail.json"
    path = store.root / "runs" / f"{ONE}.json"
    shutil.copy(path, alone)
    found = find_record(elsewhere, str(path))
    assert found.record == store.record(ONE) and found.store is not None and found.store.root == store.root.resolve()
    assert find_record(elsewhere, str(alone)).store is None


@pytest.mark.parametrize(
    "changes",
    [
        {"fingerprint": "../../secret"},
        {"fingerprint": OTHER},
        {"fingerprint": 5},
        {"names": {"attack": ["pgd"]}},
        {"names": None},
        {"settings": []},
        {"measurements": {"attack": []}},
        {"flags": [{}]},
        {"card": "text"},
        {"schema": 99},
    ],
    ids=str,
)
def test_that_a_record_file_with_wrong_fields_is_named(store: ResultStore, changes: Mapping[str, Any]) -> None:
    path = store.root / "runs" / f"{ONE}.json"
    path.write_bytes(sealed_json.written(record(ONE) | dict(changes)))
    assert str(path) in message(store, str(path), CorruptFile)
    assert str(path) in message(store, ONE[:12], CorruptFile)


def test_that_damaged_and_huge_files_are_named_and_left_where_they_are(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.root / "runs" / f"{ONE}.json"
    path.write_bytes(path.read_bytes()[:-9])
    assert "no record of frbench" in message(store, str(path), CorruptFile)
    assert "damaged" in message(store, ONE[:8], DataMissing)
    monkeypatch.setattr(record_files, "LARGEST", 100)
    assert "MB" in message(store, OTHER, CorruptFile)
    assert path.exists()
