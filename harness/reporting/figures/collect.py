"""The figures of a report: which ones, in which order, and their files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from frbench.harness.reporting.figures.collect_cloaking import amplification_figures, cloak_grids, embedding_figures
from frbench.harness.reporting.figures.collect_costs import query_curves, size_curves
from frbench.harness.reporting.figures.collect_examples import histograms, pair_examples
from frbench.harness.reporting.figures.collect_feature_distance import distance_figures
from frbench.harness.reporting.figures.collect_rates import budget_curves, heat_maps, one_per_label
from frbench.harness.reporting.figures.collect_summary import summary_figures
from frbench.harness.reporting.figures.figure_spec import FigureSpec, file_names
from frbench.harness.reporting.figures.style import save
from frbench.harness.reporting.pair_outcomes import CellFiles
from frbench.harness.reporting.summary import Summary
from frbench.harness.storage.records import NULL, Kind, Record, of_kind


class Drawing(NamedTuple):
    """The files of one figure.

    Attributes:
        title: with its setting, in one line.
        caption: what to see, in one sentence.
        paths: of its files.
    """

    title: str
    caption: str
    paths: list[Path]


def draw(
    files: CellFiles, records: Sequence[Record], frame: pd.DataFrame, folder: Path, top: int, summary: Summary | None
) -> list[Drawing]:
    """Draw all figures that the records allow.

    Args:
        files: scores and sample images of the records.
        records: in natural order.
        frame: their tidy rows, in the same order.
        folder: where the files go; created if it does not exist.
        top: pairs or users per cell in image grids.
        summary: of the records, if there is one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    specs = list(specify(files, records, frame, top, summary))
    return [
        Drawing(f"{spec.title}. {spec.setting}", spec.caption, save(spec.figure(), folder / name, *spec.endings))
        for spec, name in zip(specs, file_names(specs), strict=True)
    ]


def specify(
    files: CellFiles, records: Sequence[Record], frame: pd.DataFrame, top: int, summary: Summary | None
) -> Iterator[FigureSpec]:
    """The figures that ``draw`` draws, in their order."""
    is_attacked = [r["names"]["attack"] != NULL and r["kind"] == Kind.VERIFICATION for r in records]
    verification = [record for record, chosen in zip(records, is_attacked, strict=True) if chosen]
    cloaking, rows = of_kind(records, Kind.CLOAKING), one_per_label(frame[is_attacked])
    yield from summary_figures(summary)
    yield from budget_curves(rows)
    yield from heat_maps(rows)
    yield from size_curves(files, verification)
    yield from query_curves(files, verification)
    yield from histograms(files, verification)
    yield from distance_figures(of_kind(records, Kind.FEATURE_DISTANCE))
    yield from amplification_figures(cloaking)
    yield from embedding_figures(files, cloaking)
    yield from pair_examples(files, verification, top)
    yield from cloak_grids(files, cloaking, top)
