"""Decoys are third people, the attacked subset is balanced, nested and spread over the folds."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frbench.datasets.io.image_store import Stack
from frbench.datasets.io.pair_lists import PairList, assemble, draw_decoys, open_named, read_lines
from frbench.datasets.io.pair_subsets import Subset, balanced
from frbench.harness.core.errors import FrbenchError


def regular(folds: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    """same, fold of ``folds`` folds of ``each`` genuine and ``each`` impostor pairs."""
    return np.tile(np.repeat([True, False], each), folds), np.repeat(np.arange(folds), 2 * each)


def counts(same: np.ndarray, fold: np.ndarray, attacked: np.ndarray) -> np.ndarray:
    """(2, F): attacked genuine and impostor pairs of each fold."""
    folds = fold.max() + 1
    return np.stack([np.bincount(fold[attacked[same[attacked] == kind]], minlength=folds) for kind in (True, False)])


@given(folds=st.integers(2, 12), each=st.integers(1, 30), half=st.integers(1, 200), seed=st.integers(-5, 2**40))
def test_that_the_subset_is_balanced_sorted_and_even_over_folds(folds: int, each: int, half: int, seed: int) -> None:
    same, fold = regular(folds, each)
    attacked = balanced("set", same, fold, 2 * half, seed)
    assert len(attacked) == min(2 * half, len(same))
    assert (np.diff(attacked) > 0).all()
    per_fold = counts(same, fold, attacked)
    assert per_fold.max() - per_fold.min() <= 1
    np.testing.assert_array_equal(per_fold[0], per_fold[1])


@given(
    same=st.lists(st.booleans(), min_size=20, max_size=120),
    folds=st.integers(2, 10),
    halves=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    seed=st.integers(0, 2**31),
)
def test_that_a_larger_limit_contains_a_smaller_one(
    same: list[bool], folds: int, halves: tuple[int, int], seed: int
) -> None:
    kinds, fold = np.array([True, False, *same]), np.arange(len(same) + 2) % folds
    small, large = (balanced("set", kinds, fold, 2 * half, seed) for half in sorted(halves))
    assert set(small) <= set(large)
    assert len(small) == len(kinds) or kinds[small].sum() == (~kinds[small]).sum()


def test_that_no_limit_and_a_large_limit_take_all_pairs() -> None:
    same, fold = regular(10, 3)
    for limit in (None, 60, 61, 1000):
        np.testing.assert_array_equal(balanced("set", same, fold, limit, 0), np.arange(60))


def test_that_the_subset_hangs_on_the_seed() -> None:
    same, fold = regular(10, 300)
    first, again, other = (balanced("set", same, fold, 100, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert len(np.intersect1d(first, other)) < 20


@pytest.mark.parametrize("limit", [-2, 0, 1, 7])
def test_that_a_limit_that_cannot_be_balanced_is_refused_before_anything_is_read(limit: int) -> None:
    with pytest.raises(FrbenchError, match=f"limit={limit}, expected an even number"):
        open_named("set", [], Path("nowhere"), str, Path("nowhere"), Subset(limit=limit))


def test_that_pairs_of_one_kind_cannot_be_limited() -> None:
    with pytest.raises(FrbenchError, match="one kind only"):
        balanced("set", np.ones(20, bool), np.arange(20) % 10, 4, 0)


@st.composite
def pair_lists(draw: st.DrawFn) -> tuple[PairList, np.ndarray]:
    """Random pairs over images of at least three people that are all references somewhere."""
    people = draw(st.integers(3, 8))
    identity = np.array([*range(people), *draw(st.lists(st.integers(0, people - 1), max_size=20))])
    rows = st.integers(0, len(identity) - 1)
    probe = np.array([*range(people), *draw(st.lists(rows, max_size=30))])
    extra = draw(st.lists(rows, min_size=len(probe) - people, max_size=len(probe) - people))
    reference = np.array([*range(people), *extra])
    fold = np.arange(len(probe)) % 10
    return PairList(probe, reference, identity[probe] == identity[reference], fold), identity


@given(pairs_and_identity=pair_lists(), seed=st.integers(0, 2**31))
def test_that_a_decoy_is_a_third_person_and_a_reference(
    pairs_and_identity: tuple[PairList, np.ndarray], seed: int
) -> None:
    pairs, identity = pairs_and_identity
    decoy = draw_decoys("set", pairs, identity, seed)
    assert (identity[decoy] != identity[pairs.probe]).all()
    assert (identity[decoy] != identity[pairs.reference]).all()
    assert np.isin(decoy, pairs.reference).all()
    np.testing.assert_array_equal(decoy, draw_decoys("set", pairs, identity, seed))


@given(each=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_that_a_decoy_comes_from_another_fold_where_identities_are_unknown(each: int, seed: int) -> None:
    same, fold = regular(10, each)
    pairs = PairList(np.arange(0, 2 * len(same), 2), np.arange(1, 2 * len(same), 2), same, fold)
    decoy = draw_decoys("set", pairs, np.full(2 * len(same), -1), seed)
    assert (decoy % 2 == 1).all(), "a decoy is some pair's reference"
    assert (fold[decoy // 2] != fold).all()


def test_that_decoys_are_spread_evenly_over_the_eligible_images() -> None:
    identity = np.array([0, 0, 1, 2, 3])
    pairs = PairList(np.zeros(5000, np.int64), np.arange(5000) % 5, np.arange(5000) % 5 < 2, np.arange(5000) % 10)
    decoy = draw_decoys("set", pairs, identity, 0)
    of_genuine = decoy[pairs.same]
    shares = np.bincount(of_genuine, minlength=5) / len(of_genuine)
    np.testing.assert_allclose(shares, [0, 0, 1 / 3, 1 / 3, 1 / 3], atol=0.05)


def test_that_two_people_leave_no_third() -> None:
    pairs = PairList(np.array([0, 0]), np.array([0, 1]), np.array([True, False]), np.array([0, 1]))
    with pytest.raises(FrbenchError, match="too few different people"):
        draw_decoys("set", pairs, np.array([0, 1]), 0)


def test_that_limit_changes_neither_decoys_nor_digest_and_seed_changes_both() -> None:
    same, fold = regular(10, 4)
    pairs = PairList(np.arange(80), (np.arange(80) + ~same) % 80, same, fold)
    stack = Stack(np.zeros((80, 112, 112, 3), np.uint8), {}, "digest of the pixels")
    full, limited, other = (
        assemble("set", stack, pairs, np.arange(80), how) for how in (Subset(), Subset(limit=8), Subset(seed=1))
    )
    np.testing.assert_array_equal(full.decoy, limited.decoy)
    assert full.digest == limited.digest
    assert len(limited.attacked) == 8
    assert other.digest != full.digest


def test_that_a_list_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FrbenchError, match=r"pairs\.txt: cannot be read as UTF-8"):
        read_lines("set", tmp_path / "pairs.txt")
