"""Curves of the ASR as plotly figures."""

from __future__ import annotations

import numpy as np
from support.fake_records import NAMES, FakeStore, decided, sweep

from frbench.harness.reporting.colours import UNDEFENDED
from frbench.harness.reporting.views.asr_curves import budget_plots, size_plots
from frbench.harness.storage.records import order

STORE = sweep(attacks=("fgsm", "pgd"), budgets=("linf_2", "linf_4", "linf_8"))
RECORDS = sorted(STORE.records(), key=order)


def test_each_attack_has_a_plot_with_a_line_per_defense() -> None:
    plots = list(budget_plots(RECORDS))
    assert [plot.title.split(", ")[1] for plot in plots] == ["fgsm", "pgd"]
    traces = plots[0].figure["data"]
    assert [trace["name"] for trace in traces[:3]] == ["no defense", "jpeg", "pca"]
    assert traces[0]["line"]["color"] == UNDEFENDED
    assert len({trace["line"]["color"] for trace in traces[:3]}) == 3


def test_a_line_has_the_rates_of_the_records_in_the_order_of_their_budgets() -> None:
    (plot, _), found = budget_plots(RECORDS), {}
    for record in RECORDS:
        names = record["names"]
        key = (names["attack"], names["defense"], names["goal"], names["threat"])
        if key == ("fgsm", "jpeg", "dodging", "adaptive"):
            found[names["budget"]] = 100 * record["measurements"]["attack"]["asr"]
    button = plot.figure["layout"]["updatemenus"][0]["buttons"][0]
    assert button["label"] == "dodging, adaptive attacker"
    shown = [t for t, visible in zip(plot.figure["data"], button["args"][1], strict=True) if visible]
    (line,) = (trace for trace in shown if trace["name"] == "jpeg")
    assert line["x"] == [2.0, 4.0, 8.0]
    assert np.allclose(line["y"], [found["linf_2"], found["linf_4"], found["linf_8"]])
    assert "% [" in line["text"][0]


def test_the_menu_shows_every_line_once() -> None:
    (plot, _) = budget_plots(RECORDS)
    shown = np.array([button["args"][1] for button in plot.figure["layout"]["updatemenus"][0]["buttons"]])
    assert (shown.sum(axis=0) == 1).all()
    assert [trace["visible"] for trace in plot.figure["data"]] == shown[0].tolist()


def test_one_budget_makes_no_plot() -> None:
    assert not list(budget_plots(sweep(budgets=("linf_2",)).records()))


def test_a_boundary_attack_has_steps_at_the_sizes_of_its_successes() -> None:
    store = FakeStore()
    success = [True, True, False, True]
    decided(store, NAMES | {"attack": "cw"}, success, {"linf": [1.0, 3.0, 9.0, 2.0]}, flags=["boundary_attack"])
    (plot,) = size_plots(store.scores, store.records())
    (line,) = plot.figure["data"]
    assert line["x"].tolist() == [0, 1, 2, 3]
    assert line["y"].tolist() == [0, 25, 50, 75]
    assert line["line"]["shape"] == "hv"
    assert {trace["type"] for trace in plot.figure["data"]} == {"scatter"}
