"""Tables of what success costs: the smallest changes of an image, and the queries to a black box. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from frbench.harness.core.flags import Flag
from frbench.harness.metrics.confidence import median_interval
from frbench.harness.metrics.security_curves import area_under_curve, median_size, security_curve
from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.pair_outcomes import Scores, counted, sizes
from frbench.harness.reporting.tables.layout import facts, groups, listing, percent, setting, slug, success_rate
from frbench.harness.reporting.tables.rendering import MISSING, Cell, Table
from frbench.harness.storage.records import Record, label, measured

RADII = (2, 4, 8)  # gray levels at which success is read off the sizes
WIDEST = 16  # gray levels up to which the security curve is integrated
REACH = {"linf": 32.0, "l2": 8.0}  # as far as where no budget limits a change: gray levels, and L2 on [0, 1]
SLACK = 1 + 1e-5  # a change of 8/255 in float32 is not quite 8 gray levels: the slack of the budgets

_SIZES = (
    "Attacks that stop at the decision boundary. One that looks for the smallest change is told by its size; one that "
    "keeps to a budget and stops at success uses most of what it was given. Median size over all attacked pairs, a "
    "failure counting as infinite (∞ where half or more failed) [exact 95 % interval, from the order of sizes]; L∞ and "
    "RMS in gray levels of 255, L2 on [0, 1]. 'ASR % at L∞' is the share of attacked pairs won by a change of at most "
    f"that many gray levels. 'area' is the mean of that share over all radii from 0 to {WIDEST} gray levels, in %: the "
    f"exact area under the security curve divided by {WIDEST}; 'to L∞ {REACH['linf']:g}', 'to L2 {REACH['l2']:g}': "
    "of curves that reach so far. What does not fit the budget of its row counts as a failure."
)
_QUERIES = (
    "Scores that the attacker asked for of each attacked pair. 'median of successes' over the pairs won; 'median' over "
    "all attacked pairs, a failure counting as infinite. Attacks that go on after success spend what they are allowed."
)


def smallest_tables(records: Sequence[Record], findings: Findings, scores: Scores) -> list[Table]:
    """Median sizes and success by size of minimising attacks, a table for each dataset, recognizer, goal and threat."""
    columns: dict[str, Callable[[Record], Cell]] = {
        "ASR %": _rate(findings),
        **{f"median {words}": _median(name, scores) for name, words in (("linf", "L∞"), ("rms", "RMS"), ("l2", "L2"))},
        **{f"ASR % at L∞ {radius}": _within(radius, scores) for radius in RADII},
        "area %": _area("linf", WIDEST, scores),
        f"area % to L∞ {REACH['linf']:g}": _area("linf", REACH["linf"], scores),
        f"area % to L2 {REACH['l2']:g}": _area("l2", REACH["l2"], scores),
    }
    tables = []
    for group in groups([r for r in records if Flag.BOUNDARY_ATTACK in r["flags"] and _judged(r)]):
        header, rows = listing(group, columns)
        title = f"Smallest changes for {label(group[0], 'goal')}, {setting(group[0])}"
        tables.append(Table(slug("sizes", group[0]), title, f"{_SIZES} {facts(group)}", header, rows, 3))
    return tables


def queries_tables(records: Sequence[Record], findings: Findings, scores: Scores) -> list[Table]:
    """Queries to success of black-box attacks, a table for each dataset, recognizer, goal and threat model."""
    columns: dict[str, Callable[[Record], Cell]] = {
        "ASR %": _rate(findings),
        "median of successes": lambda r: Cell(_of_sizes(r, "queries", scores, _finite_median)),
        "median": lambda r: Cell(_of_sizes(r, "queries", scores, lambda values: spelled(median_size(values), 0))),
        "mean": lambda r: Cell(spelled(_number(measured(r, "attack")["queries"].get("mean")), 0)),
        "limit": lambda r: Cell(_limit(r)),
    }
    tables = []
    for group in groups([r for r in records if asks(r) and _judged(r)]):
        header, rows = listing(group, columns)
        title = f"Queries for {label(group[0], 'goal')}, {setting(group[0])}"
        tables.append(Table(slug("queries", group[0]), title, f"{_QUERIES} {facts(group)}", header, rows, 3))
    return tables


def asks(record: Record) -> bool:
    """Whether queries are what the cell's attacker pays with."""
    queries = measured(record, "attack").get("queries") or {}
    return bool(queries) and (queries.get("limit") is not None or record["names"]["threat"] == "query")


def _judged(record: Record) -> bool:
    return measured(record, "attack").get("asr") is not None


def _rate(findings: Findings) -> Callable[[Record], Cell]:
    return lambda record: replace(success_rate(measured(record, "attack")), badge=findings.badge(record))


def _median(name: str, scores: Scores) -> Callable[[Record], Cell]:
    def bounds(values: NDArray[np.float64]) -> str:
        low, high = median_interval(values)
        return "" if np.isnan(low) else f"[{spelled(low, 2)}, {spelled(high, 2)}]"

    return lambda record: Cell(
        _of_sizes(record, name, scores, lambda values: spelled(median_size(values), 2)),
        _of_sizes(record, name, scores, bounds).removeprefix(MISSING),
    )


def _area(name: str, widest: float, scores: Scores) -> Callable[[Record], Cell]:
    return lambda record: Cell(
        _of_sizes(record, name, scores, lambda values: percent(area_under_curve(values, widest)))
    )


def _within(radius: int, scores: Scores) -> Callable[[Record], Cell]:
    def read(values: NDArray[np.float64]) -> str:
        return percent(float(security_curve(values, [radius * SLACK])[0]))

    return lambda record: Cell(_of_sizes(record, "linf", scores, read))


def _of_sizes(record: Record, column: str, scores: Scores, read: Callable[[NDArray[np.float64]], str]) -> str:
    """``read`` of what success cost each attacked pair; missing where no per-pair table tells."""
    frame = scores(record["fingerprint"])
    if frame is None or column not in frame or not len(counted(frame)):
        return MISSING
    return read(sizes(frame, column))


def _finite_median(values: NDArray[np.float64]) -> str:
    return spelled(median_size(values[np.isfinite(values)]), 0)


def _limit(record: Record) -> str:
    limit = measured(record, "attack")["queries"].get("limit")
    return "none" if limit is None else f"{int(limit)}"


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def spelled(value: float, digits: int) -> str:
    """A number with ``digits`` decimals; infinity by its sign, nothing by a dash."""
    if np.isnan(value):
        return MISSING
    return "∞" if np.isinf(value) else f"{value:.{digits}f}"
