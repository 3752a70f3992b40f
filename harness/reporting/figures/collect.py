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
from frbench.harness.reporting.figures.collect_headline import headline_figures
from frbench.harness.reporting.figures.collect_rates import budget_curves, heat_maps, one_per_label
from frbench.harness.reporting.figures.figure_spec import FigureSpec
from frbench.harness.reporting.figures.style import save
from frbench.harness.reporting.file_names import file_names
from frbench.harness.reporting.headline import Headline
from frbench.harness.reporting.report import Request
from frbench.harness.storage.records import NULL, Kind, Record, label, of_kind, rest


class Drawing(NamedTuple):
    """The files of one figure.

    Attributes:
        title: with its setting, in one line.
        caption: what to see, in one sentence.
        opens: whether it opens the report.
        paths: of its files.
    """

    title: str
    caption: str
    opens: bool
    paths: list[Path]


def draw(request: Request, frame: pd.DataFrame, found: Sequence[Headline]) -> list[Drawing]:
    """Draw the figures that the records allow and ``request`` asks for.

    Args:
        request: with the records and the folder, which is created if it does not exist.
        frame: the tidy rows of its records, in their order.
        found: the headlines of its records.
    """
    folder = request.out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    specs = specify(request, frame, found)
    names = file_names([spec.file for spec in specs])
    return [
        Drawing(
            f"{spec.title}. {spec.setting}",
            spec.caption,
            spec.place == "opening",
            save(spec.figure(), folder / name, *spec.endings),
        )
        for spec, name in zip(specs, names, strict=True)
    ]


def specify(request: Request, frame: pd.DataFrame, found: Sequence[Headline]) -> list[FigureSpec]:
    """The figures that ``draw`` draws, in their order.

    ``figures=main`` has those of the dataset and the recognizer of the first headline, and no figure that shows one
    defense or one attack alone.
    """
    every = request.figures == "all"
    chosen = [every or not found or _has_setting(r, found[0].record) for r in request.records]
    records = [record for record, keep in zip(request.records, chosen, strict=True) if keep]
    shown = found if every else found[:1]
    specs = [
        *headline_figures(request.store, shown, request.timing),
        *_of_pairs(request, records, frame[chosen]),
        *_of_others(request),
    ]
    return [spec for spec in specs if every or spec.place != "all"]


def _has_setting(record: Record, first: Record) -> bool:
    """Whether a record is of the setting of ``first``; always for records that have no headline."""
    if record["kind"] != Kind.VERIFICATION:
        return False
    same = (label(record, noun) == label(first, noun) for noun in ("dataset", "recognizer", "protocol"))
    return all(same) and rest(record) == rest(first)


def _of_pairs(request: Request, records: Sequence[Record], frame: pd.DataFrame) -> Iterator[FigureSpec]:
    is_attacked = [r["names"]["attack"] != NULL and r["kind"] == Kind.VERIFICATION for r in records]
    verification = [record for record, chosen in zip(records, is_attacked, strict=True) if chosen]
    rows = one_per_label(frame[is_attacked])
    yield from budget_curves(rows)
    yield from heat_maps(rows)
    yield from size_curves(request.store, verification)
    yield from query_curves(request.store, verification)
    yield from histograms(request.store, verification)
    yield from pair_examples(request.store, verification, request.top)


def _of_others(request: Request) -> Iterator[FigureSpec]:
    cloaking = of_kind(request.records, Kind.CLOAKING)
    yield from distance_figures(of_kind(request.records, Kind.FEATURE_DISTANCE))
    yield from amplification_figures(cloaking)
    yield from embedding_figures(request.store, cloaking)
    yield from cloak_grids(request.store, cloaking, request.top)
