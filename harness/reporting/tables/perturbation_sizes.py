"""Tables of attack costs: perturbation sizes of boundary attacks, and queries of black-box attacks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from frbench.harness.core.flags import Flag
from frbench.harness.metrics.confidence import median_interval
from frbench.harness.metrics.security_curves import area_under_curve, median_size, security_curve
from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.pair_outcomes import Scores, attacked, sizes
from frbench.harness.reporting.tables.layout import (
    groups,
    listing,
    percent,
    setting,
    settings_caption,
    slug,
    success_rate,
)
from frbench.harness.reporting.tables.rendering import MISSING, Cell, Table
from frbench.harness.storage.records import Record, label, measured

RADII = (2, 4, 8)  # gray levels at which the ASR is read from the perturbation sizes
WIDEST = 16  # gray levels up to which the security curve is integrated
REACH = {"linf": 32.0, "l2": 8.0}  # the same for attacks without a budget: gray levels, and L2 on [0, 1]
SLACK = 1 + 1e-5  # in float32 a perturbation of 8/255 is not exactly 8 gray levels; budgets have the same tolerance

_SIZES = (
    "Attacks that stop at the decision boundary. Compare minimum-norm attacks by their sizes; an attack within a "
    "budget uses most of it. Median size over all attacked pairs, where a failed attack is infinite (∞: half or more "
    "failed) [exact 95 % interval from order statistics]; L∞ and RMS in gray levels of 255, L2 on [0, 1]. 'ASR % at "
    "L∞ k': attacked pairs with a successful perturbation of at most k gray levels. 'AUC %': mean of that ASR over all "
    f"radii from 0 to {WIDEST} gray levels, the normalised area under the security curve; 'to L∞ {REACH['linf']:g}', "
    f"'to L2 {REACH['l2']:g}': over radii up to that value. A perturbation beyond the budget of its row is a failure."
)
_QUERIES = (
    "Queries of the attacker per attacked pair. 'median of successes': over successful pairs. 'median': over all "
    "attacked pairs, where a failed attack is infinite. An attack that continues after success spends its whole query "
    "limit."
)


def size_tables(records: Sequence[Record], findings: Findings, scores: Scores) -> list[Table]:
    """Median sizes and security curves of boundary attacks, a table per dataset, recognizer, goal and threat model."""
    columns: dict[str, Callable[[Record], Cell]] = {
        "ASR %": _rate(findings),
        **{f"median {words}": _median(name, scores) for name, words in (("linf", "L∞"), ("rms", "RMS"), ("l2", "L2"))},
        **{f"ASR % at L∞ {radius}": _within(radius, scores) for radius in RADII},
        "AUC %": _area("linf", WIDEST, scores),
        f"AUC % to L∞ {REACH['linf']:g}": _area("linf", REACH["linf"], scores),
        f"AUC % to L2 {REACH['l2']:g}": _area("l2", REACH["l2"], scores),
    }
    tables = []
    for group in groups([r for r in records if Flag.BOUNDARY_ATTACK in r["flags"] and _judged(r)]):
        header, rows = listing(group, columns)
        title = f"Perturbation sizes of {label(group[0], 'goal')}: {setting(group[0])}"
        caption = f"{_SIZES} {settings_caption(group)}"
        tables.append(Table(slug("sizes", group[0]), title, caption, header, rows, 3))
    return tables


def queries_tables(records: Sequence[Record], findings: Findings, scores: Scores) -> list[Table]:
    """Queries of black-box attacks, a table per dataset, recognizer, goal and threat model."""
    columns: dict[str, Callable[[Record], Cell]] = {
        "ASR %": _rate(findings),
        "median of successes": lambda r: Cell(_read(r, "queries", scores, _finite_median)),
        "median": lambda r: Cell(_read(r, "queries", scores, lambda values: number(median_size(values), 0))),
        "mean": lambda r: Cell(number(_float(measured(r, "attack")["queries"].get("mean")), 0)),
        "limit": lambda r: Cell(_limit(r)),
    }
    tables = []
    for group in groups([r for r in records if uses_queries(r) and _judged(r)]):
        header, rows = listing(group, columns)
        title = f"Queries of {label(group[0], 'goal')}: {setting(group[0])}"
        caption = f"{_QUERIES} {settings_caption(group)}"
        tables.append(Table(slug("queries", group[0]), title, caption, header, rows, 3))
    return tables


def uses_queries(record: Record) -> bool:
    """Whether the attack is limited by queries."""
    queries = measured(record, "attack").get("queries") or {}
    return bool(queries) and (queries.get("limit") is not None or record["names"]["threat"] == "query")


def _judged(record: Record) -> bool:
    return measured(record, "attack").get("asr") is not None


def _rate(findings: Findings) -> Callable[[Record], Cell]:
    return lambda record: replace(success_rate(measured(record, "attack")), badge=findings.badge(record))


def _median(name: str, scores: Scores) -> Callable[[Record], Cell]:
    return lambda record: Cell(
        _read(record, name, scores, lambda values: number(median_size(values), 2)),
        _read(record, name, scores, median_bounds).removeprefix(MISSING),
    )


def median_bounds(values: NDArray[np.float64]) -> str:
    """The exact 95 % interval of the median as text, empty if there are too few values."""
    low, high = median_interval(values)
    return "" if np.isnan(low) else f"[{number(low, 2)}, {number(high, 2)}]"


def _area(name: str, widest: float, scores: Scores) -> Callable[[Record], Cell]:
    def read(values: NDArray[np.float64]) -> str:
        return percent(area_under_curve(values, widest))

    return lambda record: Cell(_read(record, name, scores, read))


def _within(radius: int, scores: Scores) -> Callable[[Record], Cell]:
    def read(values: NDArray[np.float64]) -> str:
        return percent(float(security_curve(values, [radius * SLACK])[0]))

    return lambda record: Cell(_read(record, "linf", scores, read))


def _read(record: Record, column: str, scores: Scores, text: Callable[[NDArray[np.float64]], str]) -> str:
    """``text`` of the cost of each attacked pair; the sign of a missing value without per-pair scores."""
    frame = scores(record["fingerprint"])
    if frame is None or column not in frame or not len(attacked(frame)):
        return MISSING
    return text(sizes(frame, column))


def _finite_median(values: NDArray[np.float64]) -> str:
    return number(median_size(values[np.isfinite(values)]), 0)


def _limit(record: Record) -> str:
    limit = measured(record, "attack")["queries"].get("limit")
    return "none" if limit is None else f"{int(limit)}"


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def number(value: float, digits: int) -> str:
    """A number with ``digits`` decimals; ∞ for infinity, the sign of a missing value for NaN."""
    if np.isnan(value):
        return MISSING
    return "∞" if np.isinf(value) else f"{value:.{digits}f}"
