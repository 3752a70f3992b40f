"""Figures of the ASR against perturbation size and queries."""

from __future__ import annotations

import numpy as np
import pytest
from support.fake_records import FakeStore, decided, figures

WON = [True, True, False]
SIZES = {name: [1.0, 2.5, 9.0] for name in ("linf", "rms", "l2")}
UNBOUNDED = {"budget": "unbounded"}


def boundary(store: FakeStore, attack: str, defense: str) -> None:
    decided(store, UNBOUNDED | {"attack": attack, "defense": defense}, WON, SIZES, flags=["boundary_attack"])


def test_that_sizes_have_curves_by_defense_and_by_attack_on_several_defenses() -> None:
    store = FakeStore()
    boundary(store, "cw", "jpeg")
    for defense in ("jpeg", "none"):
        boundary(store, "lots", defense)
    found = figures(store)
    start = "asr_by_size-lfw-tiny-adaptive-unbounded-"
    assert [name for name in found if name.startswith("asr_by_size")] == [
        f"{start}{last}"
        for last in ("defense_none", "defense_jpeg", "attack_lots")  # cw met one defense alone
    ]
    assert found[f"{start}defense_none"].setting == "adaptive attacker, unbounded, tiny on LFW, 240 pairs"
    figure = found[f"{start}defense_jpeg"].figure()
    line = figure.axes[0].get_lines()[0]
    assert line.get_label() == "cw"
    np.testing.assert_allclose(np.unique(line.get_ydata()), [0, 100 / 3, 200 / 3])


def test_that_query_attacks_have_curves_up_to_the_limit() -> None:
    store, queries = FakeStore(), {"queries": [20, 31, 100]}
    limits = {"queries": {"mean": 50.0, "limit": 100}}
    for attack, won in (("square", WON), ("nes", [False] * 3)):
        decided(store, {"attack": attack, "threat": "query"}, won, queries, limits)
    decided(store, {"attack": "square", "threat": "query", "defense": "none"}, WON, queries, limits)
    shown = [name for name in figures(store, chosen="main") if name.startswith("asr_by_queries")]
    assert shown == [f"asr_by_queries-lfw-tiny-query-linf_8-{only}" for only in ("defense_jpeg", "attack_square")]
    spec = figures(store)["asr_by_queries-lfw-tiny-query-linf_8-defense_jpeg"]
    assert spec.title == "Attack success against number of queries, defense jpeg"
    (panel,) = spec.figure().axes
    assert (panel.get_xscale(), panel.get_xlim()) == ("log", pytest.approx((10, 100)))
