"""Defenses against attackers who know more and more, and their price in clean accuracy, as plotly figures. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from frbench.harness.reporting.colours import Look, looks
from frbench.harness.reporting.headline import LEVELS, NOISE, Headline, Row, clean
from frbench.harness.reporting.rates import Rate
from frbench.harness.reporting.tables.headline import setting_of
from frbench.harness.reporting.views.plot_parts import (
    PlotView,
    Trace,
    axis,
    layout,
    percent_axis,
    rate_line,
    with_menu,
)
from frbench.harness.reporting.words import short_labels, words
from frbench.harness.storage.records import label, natural


def knowledge_plot(headline: Headline) -> PlotView:
    """The ASR of the strongest attack at each level of the attacker's knowledge, with a line per defense."""
    levels = [level for level in (NOISE, *LEVELS) if any(level in row.rates for row in headline.rows)]
    places = list(range(len(levels)))
    x = axis("what the attacker knows", tickvals=places, ticktext=levels, range=[-0.4, len(levels) - 0.6])
    y = percent_axis("ASR of the strongest attack, %")
    return PlotView(
        f"Attack success by the attacker's knowledge, {setting_of(headline)}",
        "ASR of the strongest attack with 95 % confidence intervals: a line that rises to the right is a defense that "
        "protects only against attackers who do not know it.",
        with_menu(_by_goal(headline, partial(_ladder, levels)), layout(x, y)),
    )


def accuracy_plot(headline: Headline) -> PlotView | None:
    """The pairs that withstand the strongest attack against clean accuracy; None if no row has both."""
    groups = {goal: traces for goal, traces in _by_goal(headline, _point).items() if traces}
    if not groups:
        return None
    x = axis("clean accuracy, %", rangemode="normal")
    return PlotView(
        f"Accuracy against robustness, {setting_of(headline)}",
        "Share of the attacked pairs that withstand the strongest attack at any level of knowledge, by the accuracy on "
        "clean pairs, both with 95 % confidence intervals: the better a defense, the further to the right and the "
        "higher it is.",
        with_menu(groups, layout(x, percent_axis("pairs that withstand the attack, %"))),
    )


class _Line(NamedTuple):
    """How a defense looks; shift: of its points along the axis, so that intervals do not cover each other."""

    name: str
    look: Look
    shift: float


def _by_goal(headline: Headline, trace: Callable[[Row, _Line], Trace | None]) -> dict[str, list[Trace]]:
    labels = sorted({row.defense for row in headline.rows}, key=natural)
    names, look = short_labels(labels)[0], looks("defense", labels)
    step = min(0.06, 0.5 / len(labels))
    lines = {
        each: _Line(name, look[each], step * (number - (len(labels) - 1) / 2))
        for number, (each, name) in enumerate(zip(labels, names, strict=True))
    }
    groups: dict[str, list[Trace]] = {}
    for row in headline.rows:
        found = trace(row, lines[row.defense])
        groups.setdefault(row.goal, []).extend([] if found is None else [found])
    return groups


def _ladder(levels: Sequence[str], row: Row, line: _Line) -> Trace | None:
    found = row.rates
    if not found:
        return None
    points = [(levels.index(level) + line.shift, rate) for level, rate in found.items()]
    texts = [f"{line.name}, {level}: {_attack(row, level)}" for level in found]
    return rate_line(line.name, line.look, points, texts)


def _attack(row: Row, level: str) -> str:
    return "random noise" if level == NOISE else words(label(row.strongest[level], "attack"))


def _point(row: Row, line: _Line) -> Trace | None:
    accuracy, worst, rate = clean(row), row.worst, row.worst_rate
    if worst is None or rate is None or accuracy.get("accuracy") is None:
        return None
    share, low, high = (100 * accuracy[key] for key in ("accuracy", "accuracy_low", "accuracy_high"))
    strongest = f"{worst['names']['threat']} {words(label(worst, 'attack'))}"
    text = f"{line.name}: clean accuracy {share:.2f} %, {strongest}"
    spread = {"type": "data", "symmetric": False, "array": [high - share], "arrayminus": [share - low]}
    withstood = Rate(rate.total - rate.successes, rate.total)
    return rate_line(line.name, line.look, [(share, withstood)], [f"{text}<br>ASR {rate}"], "withstood") | {
        "mode": "markers",
        "error_x": spread | {"thickness": 1.2, "width": 3},
    }
