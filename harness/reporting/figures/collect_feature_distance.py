"""The figures of ``protocol=feature_distance``: records and titles. ``plots_feature_distance`` draws them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from frbench.harness.reporting.figures.plots_feature_distance import distance_curves
from frbench.harness.reporting.tables.feature_distance import by_defense, groups_by_attack, title
from frbench.harness.reporting.tables.rendering import file_name
from frbench.harness.storage.records import Record, measured


def distance_figures(records: Sequence[Record]) -> Iterator[tuple[str, Any]]:
    """ASR against feature distance, a figure per attack; of several results with the same labels, the last."""
    for key, group in groups_by_attack(records):
        last = {name: found[-1] for name, found in by_defense(group).items()}
        points = [point for name, record in last.items() for point in _points(name, record)]
        if points:
            figure = distance_curves(pd.DataFrame(points), f"ASR against feature distance · {title(group[0])}")
            yield file_name(["feature-distance", *key]), figure


def _points(defense: str, record: Record) -> list[dict[str, Any]]:
    found = measured(record, "attack").get("distances") or {}
    return [
        {
            "defense": defense,
            "distance": float(distance),
            **{name: at[name] for name in ("asr", "asr_low", "asr_high")},
            "reached": at["reached"]["share"],
        }
        for distance, at in found.items()
        if at["asr"] is not None
    ]
