"""Lines of LFW's lists, with names as people have them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frbench.harness.core.text_lists import lfw_pair

NAMES = (
    st.text(st.characters(categories=["L", "N"], include_characters=" _-'."), min_size=1).map(str.strip).filter(bool)
)
NUMBERS = st.integers(1, 9999)


@given(NAMES, NUMBERS, NAMES, NUMBERS)
def test_any_name_is_read_where_tabs_separate(name: str, i: int, other: str, j: int) -> None:
    assert lfw_pair(f"{name}\t{i}\t{j}\n") == ((name, i), (name, j))
    assert lfw_pair(f"{name}\t{i}\t{other}\t{j}") == ((name, i), (other, j))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Ann 1 2", (("Ann", 1), ("Ann", 2))),
        ("Ann 1 Bob 2", (("Ann", 1), ("Bob", 2))),
        ("001 1 002 2", (("001", 1), ("002", 2))),
        ("Ann Lee 1 2", (("Ann Lee", 1), ("Ann Lee", 2))),
        ("Ann Lee 1 Bob 2", (("Ann Lee", 1), ("Bob", 2))),
        ("Ann 1 Bob de Wit 2", (("Ann", 1), ("Bob de Wit", 2))),
        ("Ann 7 1 Bob 2", None),  # of Ann 7 or of 1 Bob?
        ("Ann one 2", None),
        ("Ann 1", None),
        ("10 300", None),
        ("20", None),
        ("", None),
    ],
)
def test_blanks_separate_where_there_is_one_way_to_read_them(line: str, expected: object) -> None:
    assert lfw_pair(line) == expected
