"""Our run of a paper's table as reference results: its cells as CSV, and its page as Markdown. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from frbench.harness.reporting.paper.comparison_table import comparison_table, verdicts
from frbench.harness.reporting.paper.ours import Ours
from frbench.harness.reporting.paper.paper_table import PaperTable, Reason, Size
from frbench.harness.reporting.paper.readings import Reading, Verdict, read
from frbench.harness.reporting.reference_manifest import PaperRun
from frbench.harness.reporting.reference_page import repetition
from frbench.harness.reporting.tables.rendering import csv_text, markdown

_GENERATED = (
    "<!-- Generated from manifest.yaml, cells.csv and conf/paper/{name}.yaml by scripts/reference_results.py; edit "
    "those and render again. -->"
)
_HEADER = ("row", "column", "published", "ours", "low", "high", "count", "size", "status", "why", "several")
_LISTS = ("hindrances", "fingerprints")


def cells_text(readings: Sequence[Reading]) -> str:
    """The cells as CSV, one line each: keys of row and column, published and our value, and the reading."""
    rows = []
    for reading in readings:
        cell, ours = reading.place.cell, reading.ours
        values = ["" if ours is None else _text(value) for value in _values(ours)]
        rows.append([cell.row, cell.column, _text(cell.published), *values, reading.text])
    return csv_text((*_HEADER, *_LISTS, "reading"), rows)


def _values(ours: Ours | None) -> list[Any]:
    if ours is None:
        return [None] * (len(_HEADER) - 3 + len(_LISTS))
    numbers = (ours.value, ours.low, ours.high, ours.count)
    return [*numbers, ours.size.value, ours.status, ours.why, ours.several, *(getattr(ours, name) for name in _LISTS)]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ";".join(value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def readings_of(table: PaperTable, text: str, reasons: Mapping[str, Reason]) -> list[Reading]:
    """The readings of ``cells_text``: published values and words come from ``table``, ours from ``text``."""
    found = {(row["row"], row["column"]): row for row in csv.DictReader(io.StringIO(text))}
    places = list(table.places())
    return [read(table, place, _ours(found.get((place.cell.row, place.cell.column))), reasons) for place in places]


def _ours(row: Mapping[str, str] | None) -> Ours | None:
    if row is None or not row["size"]:
        return None
    value, low, high = (float(row[name]) if row[name] else None for name in ("ours", "low", "high"))
    hindrances, fingerprints = (tuple(filter(None, row[name].split(";"))) for name in _LISTS)
    count = int(row["count"]) if row["count"] else None
    several = row["several"] == "True"
    return Ours(
        value, low, high, count, Size(row["size"]), row["status"], row["why"], several, hindrances, fingerprints
    )


def paper_page(name: str, table: PaperTable, readings: Sequence[Reading], run: PaperRun) -> str:
    """The page of a table: published and our values, what the full size costs, and how to repeat it.

    Args:
        name: of the YAML file.
        readings: every cell.
        run: its manifest.
    """
    parts = [_GENERATED.format(name=name), f"# {table.title}", f"[{table.paper.cite}]({table.paper.url})"]
    parts += [run.text.strip(), _not_run(readings), f"Cells: {verdicts(readings)}.", "## Published and ours"]
    _, _, shown = markdown(comparison_table(name, table, readings)).partition("\n\n")  # its heading is that of the page
    parts += [shown.strip(), "## Cost of the full size"]
    parts += [f"```\n{run.full_plan.strip()}\n```", run.full_cost.strip(), "## How to repeat it", *repetition(run)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _not_run(readings: Sequence[Reading]) -> str:
    """A sentence on the cells that were not run; empty if there are none."""
    missing = [reading for reading in readings if reading.verdict is Verdict.NOT_RUN]
    small = sum(reading.place.size is not Size.FULL for reading in missing)
    counts = {"the small size": small, "the full size alone": len(missing) - small}
    parts = [f"{count} cells of {words}" for words, count in counts.items() if count]
    return f"Not run: {' and '.join(parts)}; the reading of each gives the command." if parts else ""
