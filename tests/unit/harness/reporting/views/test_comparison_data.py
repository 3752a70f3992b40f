"""A comparison as JSON."""

from __future__ import annotations

import json

import numpy as np
from support.comparisons import compared
from support.fake_records import FakeStore, decided

from frbench.harness.reporting.views.comparison import Side, compare
from frbench.harness.reporting.views.comparison_data import comparison_data


def test_that_a_comparison_is_strict_json_with_all_flipped_pairs() -> None:
    store = FakeStore()
    infinite = {"l2": [np.inf, np.nan, 1.0]}
    a, b = (decided(store, {"defense": d}, won, infinite) for d, won in (("none", [1, 1, 1]), ("jpeg", [0, 0, 1])))
    found = compared(store, a, b)
    data = json.loads(json.dumps(comparison_data(found), allow_nan=False))
    assert data["compared"] and data["obstacle"] is None and data["a"]["defense"] == "none"
    (part,) = data["parts"]
    assert (part["both"], part["only_a"], part["only_b"], part["neither"]) == (1, 2, 0, 0)
    assert [pair["l2_a"] for pair in part["flipped"]] == ["inf", None]
    assert [pair["margin_b"] for pair in part["flipped"]] == [-0.3, -0.3]
    assert data["overlap"]["compared"] == 3 and data["overlap"]["missing"] == [0, 0]


def test_that_runs_without_a_result_say_why() -> None:
    store = FakeStore()
    a = decided(store, {"defense": "none"}, [True])
    b = store.add(a["names"] | {"defense": "jpeg"}, status="refused", reason="no gradients")
    data = comparison_data(compare(Side(a, None), Side(b, None)))
    assert not data["compared"] and data["obstacle"] == "B was refused: no gradients" and data["parts"] == []
    assert data["b"]["reason"] == "no gradients" and data["overlap"] is None
