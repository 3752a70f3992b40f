"""Which figures the cells of ``protocol=feature_distance`` give, and their names; ``plots_distance`` draws them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from frbench.harness.reporting.figures.plots_feature_distance import distance_curves
from frbench.harness.reporting.tables.feature_distance import boards, by_defense, title
from frbench.harness.reporting.tables.rendering import file_name
from frbench.harness.storage.records import Record, measured


def distance_figures(records: Sequence[Record]) -> Iterator[tuple[str, Any]]:
    """Success against feature distance, one figure for each attack; of several results of one label, the last."""
    for key, group in boards(records):
        last = {name: found[-1] for name, found in by_defense(group).items()}
        points = [point for name, record in last.items() for point in _points(name, record)]
        if points:
            figure = distance_curves(pd.DataFrame(points), f"Success by feature distance · {title(group[0])}")
            yield file_name(["distance", *key]), figure


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
