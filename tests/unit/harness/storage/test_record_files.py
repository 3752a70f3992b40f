"""The text of a record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from frbench.harness.core.quarantine import Damaged
from frbench.harness.storage import record_files, sealed_json

RECORD = {"schema": record_files.SCHEMA, "fingerprint": "ab", "measurements": {"asr": 0.5}}


def test_that_a_record_is_read_as_it_was_written() -> None:
    found = record_files.parsed(sealed_json.written(RECORD))
    assert {key: value for key, value in found.items() if key != "checksum"} == RECORD


def test_that_another_number_is_damage() -> None:
    text = sealed_json.written(RECORD).decode()
    with pytest.raises(Damaged):
        record_files.parsed(text.replace("0.5", "0.6").encode())


def test_that_a_record_without_a_checksum_is_damaged() -> None:
    with pytest.raises(Damaged, match="no checksum"):
        record_files.parsed(json.dumps(RECORD).encode())


def test_that_a_record_of_another_version_says_which() -> None:
    with pytest.raises(record_files.OtherSchema) as error:
        record_files.parsed(json.dumps({**RECORD, "schema": 2}).encode())
    assert error.value.schema == 2


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"fingerprint": "../../etc/passwd"}, "not the name of the file"),
        ({"fingerprint": 3}, "fingerprint has the wrong type"),
        ({"names": ["pgd"]}, "names has the wrong type"),
        ({"names": {"attack": 3}}, "a name or a flag is not a text"),
        ({"flags": [{}]}, "a name or a flag is not a text"),
        ({"measurements": {"attack": {"asr": "<script>"}}}, "asr has the wrong type"),
        ({"measurements": {"clean": [1]}}, "clean has the wrong type"),
    ],
)
def test_a_record_with_a_wrong_field_is_damaged(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    path = tmp_path / "ab.json"
    path.write_bytes(sealed_json.written(RECORD))
    assert record_files.read_named(path)["fingerprint"] == "ab"
    path.write_bytes(sealed_json.written({**RECORD, **changes}))
    with pytest.raises(Damaged, match=why):
        record_files.read_named(path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "ab.json"
    with path.open("wb") as file:
        file.truncate(2**40)  # a terabyte, without blocks on the disk
    with pytest.raises(record_files.TooLarge, match="1099512 MB, more than the 5 MB"):
        record_files.read(path)
