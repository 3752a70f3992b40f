"""Figures of the ASR against perturbation size and queries, from the per-pair scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frbench.harness.core.flags import Flag
from frbench.harness.metrics.confidence import wilson
from frbench.harness.metrics.security_curves import security_curve
from frbench.harness.reporting.budget_axis import budget_words
from frbench.harness.reporting.figures.figure_spec import FigureSpec
from frbench.harness.reporting.figures.plots import share_curves
from frbench.harness.reporting.file_names import FileName
from frbench.harness.reporting.grouping import Key, grouped, models, others, subject
from frbench.harness.reporting.pair_outcomes import CellFiles, attacked, sizes
from frbench.harness.reporting.tables.perturbation_sizes import REACH, uses_queries
from frbench.harness.reporting.words import defense_words, words
from frbench.harness.storage.records import Record, label, measured, natural

_SIZES = {"linf": "L∞, gray levels of 255", "rms": "RMS, gray levels of 255"}  # sizes with a security curve
_SIDES = (("defense", "attack", defense_words), ("attack", "defense", words))  # of a figure, and of its lines
_Costs = list[tuple[Record, NDArray[np.float64]]]  # records with the cost of each attacked pair


def size_curves(files: CellFiles, records: Sequence[Record]) -> Iterator[FigureSpec]:
    """ASR against perturbation size of boundary attacks.

    A figure per defense with a line per attack, and per attack on several defenses with a line per defense.
    """
    boundary = [r for r in records if Flag.BOUNDARY_ATTACK in r["flags"]]
    for fixed, lines, in_words in _SIDES:
        for key, group in grouped(boundary, ("threat", "budget", fixed)):
            costs = [(axis, _costs(files, group, column)) for column, axis in _SIZES.items()]
            frames = [_steps(found, axis, 0, _widest(found), lines) for axis, found in costs if found]
            if frames and (fixed == "defense" or len({label(r, lines) for r in group}) > 1):
                yield FigureSpec(
                    FileName("asr_by_size", subject(key, *key[-3:-1], f"{fixed}_{key[-1]}"), others(key)),
                    f"Attack success against perturbation size, {in_words(key[-1])}",
                    _attacker(key),
                    "Share of attacked pairs that succeed with a perturbation of at most the size on the axis: the "
                    "further left a line rises, the smaller the perturbations.",
                    partial(share_curves, pd.concat(frames), lines),
                    place="main" if pd.concat(frames)["line"].nunique() > 1 else "all",
                )


def query_curves(files: CellFiles, records: Sequence[Record]) -> Iterator[FigureSpec]:
    """ASR against queries of black-box attacks: a figure per defense, and per attack on several defenses."""
    counting = [r for r in records if uses_queries(r)]
    for fixed, lines, in_words in _SIDES:
        for key, group in grouped(counting, ("threat", "budget", fixed)):
            costs = _costs(files, group, "queries")
            several = len({label(r, lines) for r, _ in costs}) > 1
            if costs and (fixed == "defense" or several):
                steps = _steps(costs, "queries per pair", *_query_range(costs), lines)
                yield FigureSpec(
                    FileName("asr_by_queries", subject(key, *key[-3:-1], f"{fixed}_{key[-1]}"), others(key)),
                    f"Attack success against number of queries, {in_words(key[-1])}",
                    _attacker(key),
                    "Share of attacked pairs that succeed within the number of queries on the axis: the further left a "
                    "line rises, the fewer queries the attack needs.",
                    partial(share_curves, steps, lines, xscale="log"),
                    place="main" if several else "all",
                )


def _attacker(key: Key) -> str:
    """Threat model, budget and models; the first two stand before the last part of ``key``."""
    return f"{words(key[-3])} attacker, {budget_words(key[-2])}, {models(key)}"


def _costs(files: CellFiles, group: Sequence[Record], column: str) -> _Costs:
    """The cost of each attacked pair of each record, infinite for failures; without records that have no scores."""
    frames = [(record, files.scores(record["fingerprint"])) for record in group]
    return [(r, sizes(f, column)) for r, f in frames if f is not None and column in f and len(attacked(f))]


def _successful(costs: _Costs) -> NDArray[np.float64]:
    values = np.concatenate([values for _, values in costs])
    return values[np.isfinite(values)]


def _widest(costs: _Costs) -> float:
    """End of the axis of sizes: the 99 % quantile of successes, so that outliers do not squeeze the rest."""
    values = _successful(costs)
    return float(np.clip(np.ceil(np.quantile(values, 0.99)), 1, REACH["linf"])) if len(values) else REACH["linf"]


def _query_range(costs: _Costs) -> tuple[float, float]:
    """Start of the axis of queries, a power of ten, and its end, the query limit or the most queries used."""
    values = _successful(costs)
    limits = [float((measured(record, "attack")["queries"].get("limit")) or 1) for record, _ in costs]
    start = 10 ** np.floor(np.log10(max(1, values.min(initial=np.inf)))) if len(values) else 1
    return float(start), max(*limits, values.max(initial=0), 10 * start)


def _steps(costs: _Costs, axis: str, start: float, end: float, lines: str = "attack") -> pd.DataFrame:
    """The corners of the step curves of ``costs`` from ``start`` to ``end``, with Wilson intervals."""
    frames = []
    for record, values in sorted(costs, key=lambda each: natural(label(each[0], lines))):
        x = np.unique([start, *values[(values > start) & (values < end)], end])
        share = security_curve(values, x)
        bounds = np.array([wilson(round(each * len(values)), len(values)) for each in share])
        points = pd.DataFrame({"x": x, "share": share, "low": bounds[:, 0], "high": bounds[:, 1]})
        frames.append(points.assign(cost=axis, goal=label(record, "goal"), line=label(record, lines)))
    return pd.concat(frames)
