"""Attack success against budget and against perturbation size, as plotly figures. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frbench.harness.core.flags import Flag
from frbench.harness.metrics.security_curves import security_curve
from frbench.harness.reporting.budget_axis import AXES, budget_words, norm_and_radius
from frbench.harness.reporting.colours import Look, looks
from frbench.harness.reporting.grouping import Key, grouped, models
from frbench.harness.reporting.pair_outcomes import Scores, attacked, sizes
from frbench.harness.reporting.rates import rate_of
from frbench.harness.reporting.views.plot_parts import (
    PlotView,
    Trace,
    axis,
    layout,
    percent_axis,
    rate_line,
    style,
    with_menu,
)
from frbench.harness.reporting.words import short_labels, words
from frbench.harness.storage.records import Kind, Record, label, natural, of_kind

_STEPS = 300  # most corners of a step curve
_SIZE = "linf"  # column of the scores with the size of each perturbation, in gray levels of 255
_OF_ASR = "ASR, %"


def budget_plots(records: Sequence[Record]) -> Iterator[PlotView]:
    """ASR against the radius: a plot per attack and norm of budgets with several radii, with a line per defense."""
    found: dict[tuple[Key, str], list[tuple[float, Record]]] = {}
    for key, group in _by_attack(of_kind(records, Kind.VERIFICATION), ("attack",)):
        for record in group:
            budget = norm_and_radius(label(record, "budget"))
            if budget and rate_of(record):
                found.setdefault((key, budget[0]), []).append((budget[1], record))
    for (key, norm), points in found.items():
        radii = sorted({radius for radius, _ in points})
        if len(radii) > 1:
            x = axis(AXES.get(norm, norm), tickvals=radii, ticktext=[f"{radius:g}" for radius in radii])
            x |= {"type": "log"} if radii[-1] / radii[0] >= 4 else {}
            yield PlotView(
                f"Attack success against perturbation budget, {words(key[-1])}, {models(key)}",
                "ASR with 95 % confidence intervals as the budget grows: the lower the line of a defense, the more it "
                "protects.",
                with_menu(_by_attacker(points, _line), layout(x, percent_axis(_OF_ASR))),
            )


def size_plots(scores: Scores, records: Sequence[Record]) -> Iterator[PlotView]:
    """ASR against perturbation size: a plot per boundary attack, with a line per defense."""
    boundary = [r for r in of_kind(records, Kind.VERIFICATION) if Flag.BOUNDARY_ATTACK in r["flags"]]
    for key, group in _by_attack(boundary, ("budget", "attack")):
        points = [(found, r) for r in group if (found := _sizes(scores, r)) is not None]
        if points:
            x = axis("L∞ size of the perturbation, gray levels of 255", rangemode="tozero")
            yield PlotView(
                f"Attack success against perturbation size, {words(key[-1])}, {budget_words(key[-2])}, {models(key)}",
                "Share of attacked pairs that succeed with a perturbation of at most the size on the axis: the further "
                "left a line rises, the smaller the perturbations.",
                with_menu(_by_attacker(points, _steps), layout(x, percent_axis(_OF_ASR))),
            )


def _by_attack(records: Sequence[Record], nouns: Sequence[str]) -> Iterator[tuple[Key, list[Record]]]:
    """As ``grouped``, with the records of all threat models in one group."""
    found: dict[Key, list[Record]] = {}
    for key, group in grouped(records, (*nouns, "threat")):
        found.setdefault(key[:-1], []).extend(group)
    yield from found.items()


def _by_attacker(points: Sequence[tuple[Any, Record]], line: Any) -> dict[str, list[Trace]]:
    """Traces by goal and threat model, one per defense."""
    labels = sorted({label(record, "defense") for _, record in points}, key=natural)
    look, name = looks("defense", labels), dict(zip(labels, short_labels(labels)[0], strict=True))
    groups: dict[str, dict[str, list[tuple[Any, Record]]]] = {}
    for value, record in points:
        attacker = f"{label(record, 'goal')}, {label(record, 'threat')} attacker"
        groups.setdefault(attacker, {}).setdefault(label(record, "defense"), []).append((value, record))
    return {
        attacker: [line(name[each], look[each], own[each]) for each in labels if each in own]
        for attacker, own in sorted(groups.items(), key=lambda group: natural(group[0]))
    }


def _line(name: str, look: Look, points: Sequence[tuple[float, Record]]) -> Trace:
    ordered = sorted(points, key=lambda point: point[0])
    rates = [(radius, rate) for radius, record in ordered if (rate := rate_of(record))]
    return rate_line(name, look, rates, [f"{name}, {budget_words(label(r, 'budget'))}" for _, r in ordered])


def _sizes(scores: Scores, record: Record) -> NDArray[np.float64] | None:
    frame = scores(record["fingerprint"])
    if frame is None or _SIZE not in frame or not len(attacked(frame)):
        return None
    return sizes(frame, _SIZE)


def _steps(name: str, look: Look, points: Sequence[tuple[NDArray[np.float64], Record]]) -> Trace:
    values = points[-1][0]
    reached = np.unique(values[np.isfinite(values)])
    corners = np.unique(np.concatenate([[0.0], reached[:: max(1, len(reached) // _STEPS)], reached[-1:]]))
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": corners,
        "y": 100 * security_curve(values, corners),
        **_line_alone(style(look)),
        "hovertemplate": "%{y:.1f} % at %{x:.2f}",
    }


def _line_alone(found: Mapping[str, Any]) -> dict[str, Any]:
    return {"line": {**found["line"], "shape": "hv"}}
