"""JSON objects with a checksum: each damaged byte is noticed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frbench.harness.core.quarantine import Damaged
from frbench.harness.storage import sealed_json

VALUE = {"cell": "d1", "starts": 2, "text": "ä\n", "list": [1, None, True], "rate": 0.5}
DATA = sealed_json.written(VALUE)


def test_that_a_file_and_a_line_hold_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    path.write_bytes(DATA)
    assert sealed_json.read(path) == VALUE
    assert sealed_json.parsed(sealed_json.line(VALUE)) == VALUE
    assert sealed_json.line(VALUE).count(b"\n") == 1


@given(st.integers(0, len(DATA) - 1), st.integers(0, 7))
def test_that_every_flipped_bit_is_noticed_or_leaves_the_value(place: int, bit: int) -> None:
    flipped = bytearray(DATA)
    flipped[place] ^= 1 << bit
    with suppress(Damaged):
        assert sealed_json.parsed(bytes(flipped)) == VALUE


@pytest.mark.parametrize("length", [0, 1, len(DATA) // 2, len(DATA) - 3])
def test_that_a_file_that_was_cut_is_noticed(length: int) -> None:
    with pytest.raises(Damaged):
        sealed_json.parsed(DATA[:length])


def test_that_a_value_without_a_checksum_is_decoded_and_not_parsed() -> None:
    assert sealed_json.decoded(b'{"a": 1}') == {"a": 1}
    with pytest.raises(Damaged, match="no checksum"):
        sealed_json.parsed(b'{"a": 1}')
