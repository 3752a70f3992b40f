"""Plots of defenses against attackers who know more and more, and of their accuracy."""

from __future__ import annotations

import pytest
from support.fake_records import sweep

from frbench.harness.reporting.crosscheck import compare
from frbench.harness.reporting.headline import Headline, headlines
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.views.knowledge import accuracy_plot, knowledge_plot
from frbench.harness.storage.records import order


def headline() -> Headline:
    store = sweep()
    records, outcomes = sorted(store.records(), key=order), Outcomes(store.scores)
    return headlines(records, compare(records, outcomes), outcomes)[0]


def test_the_knowledge_plot_has_the_strongest_attacks_of_the_headline() -> None:
    found = headline()
    plot = knowledge_plot(found)
    axis = plot.figure["layout"]["xaxis"]
    assert axis["ticktext"] == ["oblivious", "adaptive"]
    assert len(plot.figure["data"]) == len(found.rows) == 6
    for row, trace in zip(found.rows, plot.figure["data"], strict=True):
        rates = [100 * row.strongest[level]["measurements"]["attack"]["asr"] for level in axis["ticktext"]]
        assert trace["y"] == rates
        assert [round(x) for x in trace["x"]] == axis["tickvals"]


def test_lines_of_different_defenses_do_not_cover_each_other() -> None:
    data = knowledge_plot(headline()).figure["data"]
    assert len({trace["x"][0] for trace in data}) == 3


def test_the_accuracy_plot_has_the_worst_case_of_each_defense() -> None:
    found = headline()
    plot = accuracy_plot(found)
    assert plot is not None
    for row, trace in zip(found.rows, plot.figure["data"], strict=True):
        worst = row.worst
        assert worst is not None
        assert trace["y"] == [pytest.approx(100 - 100 * worst["measurements"]["attack"]["asr"])]
        assert "withstood" in trace["text"][0]
        assert trace["x"] == [100 * worst["measurements"]["clean"]["accuracy"]]


def test_without_clean_accuracy_there_is_no_accuracy_plot() -> None:
    store = sweep()
    for record in store.records():
        record["measurements"]["clean"] = None
    records, outcomes = sorted(store.records(), key=order), Outcomes(store.scores)
    assert accuracy_plot(headlines(records, compare(records, outcomes), outcomes)[0]) is None
