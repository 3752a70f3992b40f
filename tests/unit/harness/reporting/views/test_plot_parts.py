"""Parts of plotly figures."""

from __future__ import annotations

import pytest

from frbench.harness.metrics.confidence import wilson
from frbench.harness.reporting.colours import Look
from frbench.harness.reporting.rates import Rate
from frbench.harness.reporting.views.plot_parts import axis, layout, rate_line, with_menu

PLAN = layout(axis("x"), axis("y"))


def test_error_bars_end_at_the_interval() -> None:
    line = rate_line("jpeg", Look("#123456", "s", "--"), [(2, Rate(3, 10))], ["jpeg at 2"])
    low, high = (100 * bound for bound in wilson(3, 10))
    assert line["y"] == [30.0]
    assert line["y"][0] + line["error_y"]["array"][0] == pytest.approx(high)
    assert line["y"][0] - line["error_y"]["arrayminus"][0] == pytest.approx(low)
    assert line["text"] == [f"jpeg at 2<br>ASR 30.0 % [{low:.1f}, {high:.1f}] (3/10)"]
    assert (line["line"]["color"], line["line"]["dash"], line["marker"]["symbol"]) == ("#123456", "dash", "square")


def test_one_group_has_no_menu_and_several_have_one() -> None:
    one = with_menu({"dodging": [{"name": "a"}]}, PLAN)
    assert "updatemenus" not in one["layout"] and one["data"] == [{"name": "a", "visible": True}]
    two = with_menu({"dodging": [{"name": "a"}, {"name": "b"}], "impersonation": [{"name": "a"}]}, PLAN)
    assert [trace["visible"] for trace in two["data"]] == [True, True, False]
    buttons = two["layout"]["updatemenus"][0]["buttons"]
    assert [each["args"] for each in buttons] == [["visible", [True, True, False]], ["visible", [False, False, True]]]
