"""The plot of the margins of two runs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from support.comparisons import compared, two_runs
from support.fake_records import FakeStore, decided

from frbench.harness.reporting.colours import defense_look
from frbench.harness.reporting.views.comparison import Comparison
from frbench.harness.reporting.views.comparison_plot import margins_plot


def two(goal: str = "dodging", defenses: tuple[str, str] = ("none", "jpeg")) -> Comparison:
    store = FakeStore()
    return compared(store, *two_runs(store, *defenses, goal=goal))


def figure(found: Comparison) -> dict[str, Any]:
    view = margins_plot(found, found.parts[0])
    assert view is not None
    return json.loads(json.dumps(view.figure))


def test_that_each_pair_is_one_point_of_its_outcome() -> None:
    found = two()
    gap = found.parts[0].gap
    traces = {trace["name"].split(":")[0].split(" (")[0]: trace for trace in figure(found)["data"]}
    counts = {name: len(trace["x"]) for name, trace in traces.items()}
    assert counts == {
        "neither succeeds": gap.neither,
        "both succeed": gap.both,
        "A alone succeeds": gap.only_a,
        "B alone succeeds": gap.only_b,
    }
    assert gap.only_a > 0 and (np.array(traces["A alone succeeds"]["x"]) <= 0).all()
    assert (np.array(traces["A alone succeeds"]["y"]) > 0).all()


def test_that_a_run_has_the_colour_of_its_defense_where_the_defenses_differ() -> None:
    colours = [trace["marker"]["color"] for trace in figure(two())["data"]]
    assert colours[2:] == [defense_look("none").colour, defense_look("jpeg").colour]
    assert len(set(colours)) == 4
    assert len({trace["marker"]["color"] for trace in figure(two(defenses=("jpeg", "jpeg")))["data"]}) == 4


def test_that_the_corners_are_named_by_the_side_of_the_threshold_on_which_an_attack_succeeds() -> None:
    def places(goal: str) -> dict[str, tuple[bool, bool]]:
        return {each["text"]: (each["x"] > 0.5, each["y"] > 0.5) for each in figure(two(goal))["layout"]["annotations"]}

    assert places("dodging")["both succeed"] == (False, False) and places("dodging")["A alone succeeds"] == (
        False,
        True,
    )
    assert places("impersonation")["both succeed"] == (True, True)
    assert places("impersonation")["A alone succeeds"] == (True, False)


def test_that_pairs_without_scores_have_no_plot() -> None:
    store = FakeStore()
    names = {"protocol": "feature_distance"}
    records = [decided(store, names | {"defense": each}, [True, False], {"distance": 0.5}) for each in ("none", "jpeg")]
    for frame in store.frames.values():
        frame["adversarial_score"] = np.nan
    found = compared(store, *records)
    assert margins_plot(found, found.parts[0]) is None
