"""Results of the very same objects."""

from __future__ import annotations

from frbench.harness.config.identity_memo import IdentityMemo


def test_that_a_result_is_that_of_the_same_objects_and_not_of_equal_ones() -> None:
    memo, first, equal = IdentityMemo(), [1], [1]
    assert memo("length", (first,), lambda: "made") == memo("length", (first,), lambda: "made again") == "made"
    assert memo("length", (equal,), lambda: "of another") == "of another"
    assert memo("sum", (first,), lambda: "another result") == "another result"


def test_that_an_object_that_is_gone_gives_its_identity_to_no_other() -> None:
    memo = IdentityMemo()
    found = [memo("number", (object(),), lambda number=number: number) for number in range(100)]
    assert found == list(range(100))
