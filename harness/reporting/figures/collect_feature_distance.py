"""The figures of ``protocol=feature_distance``: records, titles and captions. ``plots_feature_distance`` draws them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pandas as pd

from frbench.harness.reporting.figures.figure_spec import FigureSpec
from frbench.harness.reporting.figures.plots_feature_distance import distance_curves
from frbench.harness.reporting.file_names import FileName
from frbench.harness.reporting.tables.feature_distance import by_defense, groups_by_attack
from frbench.harness.reporting.tables.layout import setting
from frbench.harness.reporting.words import words
from frbench.harness.storage.records import Record, measured


def distance_figures(records: Sequence[Record]) -> Iterator[FigureSpec]:
    """ASR against feature distance, a figure per attack; of several results with the same labels, the last."""
    for key, group in groups_by_attack(records):
        last = {name: found[-1] for name, found in by_defense(group).items()}
        points = [point for name, record in last.items() for point in _points(name, record)]
        if points:
            dataset, recognizer, protocol, goal, threat, surrogate, budget, attack, other = key
            yield FigureSpec(
                FileName(
                    "asr_by_feature_distance",
                    (dataset, recognizer, surrogate, goal, threat, budget, f"attack_{attack}"),
                    (protocol, other),
                ),
                f"Attack success against feature distance, {words(attack)}, {words(goal)}",
                setting(group[0]),
                "ASR on each defense of images that the attack brings to feature distance q of the reference, nearer "
                "to the right: the lower a line, the less the images transfer to the defense.",
                partial(distance_curves, pd.DataFrame(points)),
            )


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
