"""The text of a record."""

from __future__ import annotations

import json

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
