"""Two runs pair by pair: counts, tests, symmetry, and why some runs are not compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.comparisons import compared, side, two_runs
from support.fake_records import FakeStore, decided

from frbench.harness.metrics.significance import exact_mcnemar
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.views.comparison import Comparison, Side, compare

Table = st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.booleans()), max_size=25, unique_by=lambda row: row[0])


def of_rows(store: FakeStore, defense: str, rows: list[tuple[int, bool, bool]]) -> Side:
    """A run with the given numbers, decisions without an attack, and successes."""
    record = decided(store, {"defense": defense}, [True])
    frame = pd.DataFrame(rows, columns=["index", "correct", "success"]).astype({"correct": bool, "success": bool})
    store.frames[record["fingerprint"]] = frame.assign(adversarial_score=0.2, threshold=0.3, same=True)
    return side(store, record)


@settings(deadline=None, max_examples=60)
@given(Table, Table)
def test_that_the_comparison_of_b_with_a_mirrors_that_of_a_with_b(
    first: list[tuple[int, bool, bool]], second: list[tuple[int, bool, bool]]
) -> None:
    store = FakeStore()
    a, b = of_rows(store, "none", first), of_rows(store, "jpeg", second)
    there, back = compare(a, b), compare(b, a)
    assert bool(there.obstacle) == bool(back.obstacle)
    assert there.differences == tuple(each._replace(a=each.b, b=each.a) for each in back.differences)
    known = Outcomes(store.scores).difference(a.record, b.record)
    if known is None:
        assert there.obstacle and there.parts == back.parts == ()
        return
    (part,), (mirrored,) = there.parts, back.parts
    assert part.gap == known and there.overlap is not None and part.gap.total == there.overlap.compared
    assert (part.gap.only_a, part.gap.only_b) == (mirrored.gap.only_b, mirrored.gap.only_a)
    assert part.gap.difference == pytest.approx(-mirrored.gap.difference)
    assert part.gap.low == pytest.approx(-mirrored.gap.high)
    assert part.p == mirrored.p == exact_mcnemar(part.gap.only_a, part.gap.only_b)
    assert len(part.flipped) == part.gap.only_a + part.gap.only_b
    assert part.flipped["index"].tolist() == mirrored.flipped["index"].tolist()


def test_that_margins_are_attacked_scores_minus_thresholds() -> None:
    store = FakeStore()
    (part,) = compared(store, *two_runs(store, "none", "jpeg")).parts
    np.testing.assert_allclose(part.rows["margin_a"], part.rows["adversarial_score_a"] - part.rows["threshold_a"])
    assert ((part.rows["margin_a"] <= 0) == part.rows["success_a"]).all()
    assert set(part.flipped["index"]) == set(part.rows["index"][part.rows["success_a"] != part.rows["success_b"]])


def distances(store: FakeStore, defense: str, near: list[bool], far: list[bool]) -> Side:
    record = decided(store, {"defense": defense, "protocol": "feature_distance"}, [True])
    frames = [
        pd.DataFrame({"index": range(len(success)), "distance": q, "success": success, "correct": True})
        for q, success in ((0.4, near), (0.9, far))
    ]
    store.frames[record["fingerprint"]] = pd.concat(frames, ignore_index=True)
    return side(store, record)


def test_that_feature_distances_are_compared_one_by_one_with_corrected_p_values() -> None:
    store = FakeStore()
    a = distances(store, "none", [True] * 8, [True] * 8)
    b = distances(store, "jpeg", [False] * 8, [True] * 4 + [False] * 4)
    far, near = compare(a, b).parts
    assert (far.name, near.name) == ("q = 0.9", "q = 0.4")
    assert (far.gap.only_a, near.gap.only_a) == (4, 8)
    assert near.p == pytest.approx(2 * exact_mcnemar(8, 0)) and far.p == exact_mcnemar(4, 0)


def cloaked(store: FakeStore, defense: str, recognised: Callable[[int, int], bool], **more: Any) -> Side:
    record = decided(store, {"defense": defense, "tracker": "nearest", "protocol": "cloaking"}, [True], **more)
    rows = [(0, user, 10 * user + photo, recognised(user, photo)) for user in range(6) for photo in range(5)]
    store.frames[record["fingerprint"]] = pd.DataFrame(rows, columns=["split", "user", "index", "recognised"])
    return side(store, record)


def test_that_cloaks_are_tested_over_users_and_not_over_their_photos() -> None:
    store = FakeStore()
    a, b = cloaked(store, "none", lambda user, photo: False), cloaked(store, "jpeg", lambda user, photo: user < 3)
    (part,) = compare(a, b).parts
    assert (part.gap.only_a, part.gap.neither, part.gap.both) == (15, 0, 15)
    assert part.gap.difference == 0.5 and part.gap.low < 0.5 < part.gap.high
    assert part.p == exact_mcnemar(3, 0) and "users" in part.method
    other = cloaked(store, "blur", lambda user, photo: False, seed=1)
    assert "seeds differ" in compare(a, other).obstacle


def obstacle(change: dict[str, Any], scores: bool = True) -> Comparison:
    store = FakeStore()
    base = decided(store, {"defense": "none"}, [True, False], card={"digests": {"data": "d" * 64}})
    other = decided(store, {"defense": "jpeg"}, [True, False], card={"digests": {"data": "d" * 64}}) | change
    return compare(side(store, base), Side(other, store.scores(other["fingerprint"]) if scores else None))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"status": "refused", "reason": "needs gradients", "measurements": None}, "B was refused: needs gradients"),
        ({"status": "crashed", "reason": "Traceback\n  File\nValueError: no\n"}, "B crashed: ValueError: no"),
        ({"measurements": {"clean": {}, "attack": None}}, "B has no attack"),
        ({"kind": "cloaking"}, "measure different things"),
        ({"kind": "weather"}, "does not know"),
        ({"card": {"digests": {"data": "e" * 64}}}, "images or pairs differ"),
    ],
)
def test_that_runs_that_are_not_paired_are_explained_and_not_compared(change: dict[str, Any], expected: str) -> None:
    found = obstacle(change)
    assert expected in found.obstacle and "\n" not in found.obstacle
    assert found.parts == () and any(each.name == "defense" for each in found.differences)


def test_that_missing_and_foreign_scores_are_explained() -> None:
    assert "no scores of B" in obstacle({}, scores=False).obstacle
    store = FakeStore()
    a, b = of_rows(store, "none", [(1, True, True)]), of_rows(store, "jpeg", [(1, True, True)])
    assert b.scores is not None
    assert "not those of a run of verification" in compare(a, Side(b.record, b.scores[["index"]])).obstacle
