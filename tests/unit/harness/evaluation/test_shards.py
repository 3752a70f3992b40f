"""Shards: every block belongs to exactly one, and a wrong number is explained."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frbench.harness.core.errors import ConfigError
from frbench.harness.evaluation.shards import Shard, parse_shard


@given(rows=st.integers(0, 300), size=st.integers(1, 70), count=st.integers(1, 20))
def test_every_block_belongs_to_one_shard(rows: int, size: int, count: int) -> None:
    starts = [start for number in range(count) for start in Shard(number, count).starts(rows, size)]
    assert sorted(starts) == list(range(0, rows, size))


def test_a_shard_has_the_blocks_with_its_remainder() -> None:
    assert [start // 64 for start in parse_shard("3/16").starts(6000, 64)] == [3, 19, 35, 51, 67, 83]


@pytest.mark.parametrize("text", ["16/16", "17/16", "0/0", "", "3", "-1/4", "3/16/2", "a/b"])
def test_what_is_no_shard_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match="expected") as error:
        parse_shard(text)
    assert "\n" not in str(error.value)
    if text == "16/16":
        assert "0/16 to 15/16" in str(error.value)
