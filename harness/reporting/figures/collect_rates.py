"""Figures of the ASR by budget, defense and attack, from the tidy table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pandas as pd

from frbench.harness.reporting.budget_axis import AXES, budget_words, norm_and_radius
from frbench.harness.reporting.figures.figure_spec import FigureSpec
from frbench.harness.reporting.figures.plots import asr_curves, heat_map
from frbench.harness.reporting.file_names import FileName
from frbench.harness.reporting.grouping import SETTING, Key, models, others, subject
from frbench.harness.reporting.words import defense_words, words
from frbench.harness.storage.records import natural


def one_per_label(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per combination of labels: of several results the last, a finished one before others."""
    if frame.empty:
        return frame
    frame = frame.assign(finished=frame["status"] == "done").sort_values("finished", kind="stable")
    labels = [*SETTING, "goal", "threat", "budget", "defense", "attack"]
    last = frame.drop_duplicates(labels, keep="last").drop(columns="finished")
    return last.reindex(
        columns=list(dict.fromkeys([*last.columns, "asr", "asr_low", "asr_high", "asr_denominator"]))
    ).sort_index()


def budget_curves(rows: pd.DataFrame) -> Iterator[FigureSpec]:
    """ASR against budget: a figure per attack with a line per defense, and per defense with a line per attack."""
    budgets = [norm_and_radius(budget) for budget in rows["budget"]] if len(rows) else []
    points = rows[[budget is not None for budget in budgets]].assign(
        norm=[budget[0] for budget in budgets if budget], radius=[budget[1] for budget in budgets if budget]
    )
    points = points[points["asr"].notna()] if len(points) else points
    for key, group in _by_setting(points, "norm", "attack"):
        if group["radius"].nunique() > 1:
            yield _curves(
                key,
                group,
                ("attack", "defense"),
                words(key[-1]),
                "ASR of the attack as its budget grows, with 95 % confidence bands: the lower the line of a defense, "
                "the more it protects.",
            )
    for key, group in _by_setting(points, "norm", "defense"):
        if group["radius"].nunique() > 1 and group["attack"].nunique() > 1:
            yield _curves(
                key,
                group,
                ("defense", "attack"),
                defense_words(key[-1]),
                "ASR of each attack as its budget grows, with 95 % confidence bands: the highest line is the "
                "strongest attack.",
            )


def _curves(key: Key, group: pd.DataFrame, nouns: tuple[str, str], fixed: str, caption: str) -> FigureSpec:
    """A figure of one value of the first of ``nouns``, with a line per value of the second."""
    noun, lines = nouns
    ranked = group.sort_values(lines, key=lambda column: column.map(_rank(column)), kind="stable")
    return FigureSpec(
        FileName("asr_by_budget", subject(key, key[-2], f"{noun}_{key[-1]}"), others(key)),
        f"Attack success against perturbation budget, {fixed}",
        models(key),
        caption,
        partial(asr_curves, ranked, lines, AXES.get(key[-2], key[-2])),
        place="main" if group[lines].nunique() > 1 else "all",
    )


def heat_maps(rows: pd.DataFrame) -> Iterator[FigureSpec]:
    """ASR by defense and attack: a figure per budget."""
    for key, group in _by_setting(rows, "budget"):
        ranked = group.assign(text=[_counts(row) for row in group.to_dict("records")])
        for column in ("attack", "defense", "goal", "threat"):
            ranked = ranked.sort_values(column, key=lambda names: names.map(_rank(names)), kind="stable")
        yield FigureSpec(
            FileName("asr_heatmap", subject(key, key[-1]), others(key)),
            f"Attack success by defense and attack, {budget_words(key[-1])}",
            models(key),
            "ASR in %, above successes/attacked pairs: the darker a row, the weaker the defense; the darker a column, "
            "the stronger the attack.",
            partial(heat_map, ranked),
            place="main" if group["attack"].nunique() > 1 else "all",
        )


def _by_setting(rows: pd.DataFrame, *more: str) -> Iterator[tuple[Key, pd.DataFrame]]:
    if not rows.empty:
        for key, group in rows.groupby([*SETTING, *more], sort=False):
            yield tuple(str(part) for part in key), group


def _rank(names: pd.Series) -> dict[str, int]:
    return {name: i for i, name in enumerate(sorted(set(names), key=natural))}


def _counts(row: Mapping[Any, Any]) -> str:
    if row["status"] != "done":
        return str(row["status"])
    if pd.isna(row["asr"]):
        return "n/a"
    return f"{round(row['asr'] * row['asr_denominator'])}/{int(row['asr_denominator'])}"
