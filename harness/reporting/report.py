"""``frbench report``: tables and figures of records, or the records as JSON lines.

Seconds, dates and other facts of a run are in no table, so that the same records always give the same files.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from frbench.harness.core.errors import ConfigError, DataMissing
from frbench.harness.reporting.crosscheck import Findings, compare
from frbench.harness.reporting.pair_outcomes import CellFiles, Outcomes
from frbench.harness.reporting.summary import FIGURES, METHOD, Summary, summarize
from frbench.harness.reporting.tables.audit import audit_tables
from frbench.harness.reporting.tables.cloaking import cloaking_tables
from frbench.harness.reporting.tables.feature_distance import distance_tables
from frbench.harness.reporting.tables.paired_sizes import size_comparison_tables
from frbench.harness.reporting.tables.paired_tests import comparison_tables
from frbench.harness.reporting.tables.perturbation_sizes import queries_tables, size_tables
from frbench.harness.reporting.tables.postprocessing import draws_tables, postprocessing_tables
from frbench.harness.reporting.tables.rendering import (
    Table,
    csv_text,
    latex,
    left_out,
    markdown,
    table_csv,
    without_empty,
)
from frbench.harness.reporting.tables.success import (
    BEST_ACCURACY,
    attack_tables,
    clean_tables,
    far_readings,
    gap_tables,
)
from frbench.harness.storage.records import Kind, Record, json_line, of_kind, order, select, tidy_row

if TYPE_CHECKING:
    from frbench.harness.reporting.figures.collect import Drawing

_LONG = 100  # rows from which report.md links a table instead of showing it
_ROWS = 500  # rows of cells.csv that are written at a time


class Store(CellFiles, Protocol):
    """A result store: records in any order, and the files of their cells."""

    def records(self) -> list[dict[str, Any]]:
        """All records."""
        ...

    def record(self, fingerprint: str) -> dict[str, Any] | None:
        """A record with its config, or None."""
        ...


def report(
    store: Store,
    out: Path,
    format: str = "files",
    where: Mapping[str, Any] | None = None,
    top: int = 1,
    figures: bool = True,
) -> list[Path]:
    """Write tables and figures of the selected records, or print the records.

    Args:
        store: where the records are.
        out: folder for ``tables`` and ``figures``.
        format: ``files`` writes tables and figures; ``json`` prints the records as JSON lines;
            ``card`` writes a run card of each.
        where: selects records, see ``storage.records.select``.
        top: pairs per cell in the image grids.
        figures: whether ``files`` draws figures, which take far longer than the tables.

    Returns:
        The paths of the written files.

    Raises:
        ConfigError: ``format`` is unknown, or ``where`` matches no record.
        DataMissing: there are no records.
    """
    writers: dict[str, Callable[[Store, list[Record], Findings, Path, int | None], list[Path]]] = {
        "files": _write_files,
        "json": _print_lines,
        "card": _write_cards,
    }
    if format not in writers:
        raise ConfigError(f"unknown format={format}; choose from {', '.join(writers)}")
    records, outcomes = select(store.records(), where), _outcomes(store)
    return writers[format](store, records, compare(records, outcomes), Path(out), top if figures else None)


def _outcomes(store: Store) -> Outcomes:
    return Outcomes(store.scores, getattr(store, "decisions", None))


def _print_lines(store: Store, records: list[Record], findings: Findings, out: Path, top: int | None) -> list[Path]:
    for record in records:
        sys.stdout.write(json_line(record, findings.all_flags(record)) + "\n")
    return []


def _write_cards(store: Store, records: list[Record], findings: Findings, out: Path, top: int | None) -> list[Path]:
    from frbench.harness.reporting.run_cards import write_cards

    return write_cards(store, records, compare(store.records(), _outcomes(store)), out)


def _write_files(store: Store, records: list[Record], findings: Findings, out: Path, top: int | None) -> list[Path]:
    if not records:
        raise DataMissing("no records to report on; run `frbench run` first")
    frame = tidy(records, findings)
    sections = _sections(store, records, findings)
    summary = summarize(records, findings, _outcomes(store))
    drawings: list[Drawing] = []
    if top is not None:
        from frbench.harness.reporting.figures import collect

        drawings = collect.draw(store, records, frame, out / "figures", top, summary)
    document = _document(sections, drawings, _note_on_figures(records), summary)
    return [*_write_tables(sections, frame, document, out), *(path for each in drawings for path in each.paths)]


def _sections(store: Store, all_records: list[Record], findings: Findings) -> dict[str, list[Table]]:
    """Tables by the title of their section."""
    verification, outcomes = of_kind(all_records, Kind.VERIFICATION), _outcomes(store)
    distance = of_kind(all_records, Kind.FEATURE_DISTANCE)
    sections = {
        "Clean accuracy": clean_tables(of_kind(all_records, Kind.VERIFICATION, Kind.FEATURE_DISTANCE)),
        "Attack success rate": attack_tables(verification, findings, BEST_ACCURACY),
        "Audit": audit_tables(verification, findings),
        "Adaptive against oblivious attacks": gap_tables(verification, findings),
        "Randomized defenses": draws_tables(verification, findings),
        "Image post-processing": postprocessing_tables(verification, findings),
        "Perturbation sizes": size_tables(verification, findings, store.scores),
        "Queries": queries_tables(verification, findings, store.scores),
        "Paired comparisons of the ASR": comparison_tables(verification, outcomes),
        "Paired comparisons of perturbation sizes": size_comparison_tables(verification, outcomes),
    }
    for reading in far_readings(verification):
        sections[f"Attack success rate, {reading.words}"] = attack_tables(verification, findings, reading)
    sections["Feature distance"] = distance_tables(distance, findings)
    sections["Cloaking"] = cloaking_tables(of_kind(all_records, Kind.CLOAKING), findings)
    return sections


def tidy(records: Sequence[Record], findings: Findings) -> pd.DataFrame:
    """One row per record: labels, status, all measurements, flags."""
    columns: dict[str, list[Any]] = {}
    for number, record in enumerate(records):  # by column: rows of many records take much more memory
        for name, value in tidy_row(record, findings.all_flags(record)).items():
            column = columns.setdefault(name, [])
            column += [math.nan] * (number - len(column))
            column.append(value)
    for column in columns.values():
        column += [math.nan] * (len(records) - len(column))
    return pd.DataFrame(columns)


def _write_tables(sections: Mapping[str, Sequence[Table]], frame: pd.DataFrame, document: str, out: Path) -> list[Path]:
    folder, written = out / "tables", []
    folder.mkdir(parents=True, exist_ok=True)

    def write(name: str, text: str) -> None:
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
        written.append(folder / name)

    write("cells.csv", cells_csv(frame))
    for table in (table for tables in sections.values() for table in tables):
        write(f"{table.slug}.md", markdown(table))
        write(f"{table.slug}.tex", latex(table))
        write(f"{table.slug}.csv", table_csv(table))
    write("report.md", document)
    return written


def _note_on_figures(records: Sequence[Record]) -> str:
    """How many results the figures leave out, because another one has the same labels; empty if none."""
    results = Counter(order(record)[:-1] for record in records if record["measurements"])
    hidden = sum(count - 1 for count in results.values())
    if not hidden:
        return ""
    return (
        f"Tables show all results, figures one result per combination of labels; {hidden} other results have the "
        "labels of a shown one, from before or after a change of weights, data or code. Select one with "
        "where.fingerprint.\n"
    )


def _document(
    sections: Mapping[str, Sequence[Table]], drawings: Sequence[Drawing], note: str, summary: Summary | None
) -> str:
    """The summary with its figures, tables with results, the other figures, and links to tables without results."""
    images = [(each, path) for each in drawings for path in each.paths if path.suffix == ".png"]
    first = [image for image in images if image[1].stem.startswith(FIGURES)]
    parts = ["# Report", ""]
    if summary:
        parts += [*(f"{sentence}\n" for sentence in summary.sentences), f"*{METHOD}*\n", *map(_image, first)]
    empty: list[str] = []
    for title, tables in sections.items():
        reduced = [(table, without_empty(table)) for table in tables]
        empty += [f"- {title}: [{table.title}]({table.slug}.md)" for table, shown in reduced if shown is None]
        texts = [_shown(table, shown) for table, shown in reduced if shown is not None]
        parts += [f"## {title}", "", *texts] if texts else []
    others = [image for image in images if image not in first]
    if others:
        parts += ["## Figures", "", *([note] if note else []), *map(_image, others)]
    if empty:
        parts += ["## Tables without results", "", "Every row is `=` or `n/a`.", "", *empty, ""]
    return "\n".join(parts)


def _image(image: tuple[Drawing, Path]) -> str:
    drawing, path = image
    return f"![{drawing.title}](../figures/{path.name})\n\n*{drawing.caption}*\n"


def _shown(table: Table, shown: Table) -> str:
    """``shown``, the part of ``table`` with results, and a line on the rest."""
    if len(shown.rows) > _LONG:
        return f"### {table.title}\n\n{len(table.rows)} rows: [{table.slug}.md]({table.slug}.md)\n"
    return "\n".join(part for part in (markdown(shown), left_out(table, shown)) if part)


def cells_csv(frame: pd.DataFrame) -> str:
    """The tidy table as CSV text: empty for null, ten significant digits for floats."""
    return csv_text(list(frame.columns), _csv_rows(frame))


def _csv_rows(frame: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    for first in range(0, len(frame), _ROWS):  # in parts: the text of all cells at once takes much memory
        part = frame.iloc[first : first + _ROWS]
        columns = [map(_csv_value, part.iloc[:, number].tolist()) for number in range(part.shape[1])]
        yield from zip(*columns, strict=True)


def _csv_value(value: Any) -> str:
    """A value as text: empty for null, ten significant digits for floats."""
    if isinstance(value, float):
        return "" if value != value else f"{value:.10g}"
    if value is None:
        return ""
    return str(bool(value)).lower() if isinstance(value, bool | np.bool_) else str(value)
