"""``frbench report format=files``: tables, figures, and the document that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from frbench.harness.reporting.document import document
from frbench.harness.reporting.headline import headlines
from frbench.harness.reporting.report import DRAWN, Request
from frbench.harness.reporting.summary import summarize
from frbench.harness.reporting.tables.audit import audit_tables
from frbench.harness.reporting.tables.cloaking import cloaking_tables
from frbench.harness.reporting.tables.feature_distance import distance_tables
from frbench.harness.reporting.tables.headline import headline_tables
from frbench.harness.reporting.tables.paired_sizes import size_comparison_tables
from frbench.harness.reporting.tables.paired_tests import comparison_tables
from frbench.harness.reporting.tables.perturbation_sizes import queries_tables, size_tables
from frbench.harness.reporting.tables.postprocessing import draws_tables, postprocessing_tables
from frbench.harness.reporting.tables.rendering import Table, has_values, latex, markdown, named, table_csv
from frbench.harness.reporting.tables.success import (
    BEST_ACCURACY,
    attack_tables,
    clean_tables,
    far_readings,
    gap_tables,
)
from frbench.harness.reporting.tidy_table import cells_csv, tidy
from frbench.harness.storage.records import Kind, of_kind

if TYPE_CHECKING:
    import pandas as pd

    from frbench.harness.reporting.figures.collect import Drawing


def write_files(request: Request) -> list[Path]:
    """Write all tables and the figures that are asked for.

    Returns:
        The paths of the written files.
    """
    records, findings = request.records, request.findings
    frame, found = tidy(records, findings), headlines(records, findings, request.outcomes)
    drawings: list[Drawing] = []
    if request.figures in DRAWN:
        from frbench.harness.reporting.figures import collect

        drawings = collect.draw(request, frame, found)
    headline = headline_tables(found, findings, request.timing)
    sections = {"Other headline tables": headline[1:]} | table_sections(request)
    text = document(records, summarize(records, findings, request.outcomes), headline[:1], sections, drawings)
    tables = [*headline[:1], *(table for tables in sections.values() for table in tables)]
    return [*_write_tables(tables, frame, text, request.out), *(path for each in drawings for path in each.paths)]


def table_sections(request: Request) -> dict[str, list[Table]]:
    """Tables by the title of their section, with distinct file names."""
    sections = _sections(request)
    tables = iter(named([table for tables in sections.values() for table in tables]))
    return {title: [next(tables) for _ in own] for title, own in sections.items()}


def _sections(request: Request) -> dict[str, list[Table]]:
    all_records, findings, outcomes = request.records, request.findings, request.outcomes
    verification, distance = (of_kind(all_records, kind) for kind in (Kind.VERIFICATION, Kind.FEATURE_DISTANCE))
    sections = {
        "Clean accuracy": clean_tables(of_kind(all_records, Kind.VERIFICATION, Kind.FEATURE_DISTANCE)),
        "Attack success rate": attack_tables(verification, findings, BEST_ACCURACY),
        "Audit": audit_tables(verification, findings),
        "Adaptive against oblivious attacks": gap_tables(verification, findings),
        "Randomized defenses": draws_tables(verification, findings),
        "Image post-processing": postprocessing_tables(verification, findings),
        "Perturbation sizes": size_tables(verification, findings, request.store.scores),
        "Queries": queries_tables(verification, findings, request.store.scores),
        "Paired comparisons of the ASR": comparison_tables(verification, outcomes),
        "Paired comparisons of perturbation sizes": size_comparison_tables(verification, outcomes),
    }
    for reading in far_readings(verification):
        sections[f"Attack success rate, {reading.words}"] = attack_tables(verification, findings, reading)
    sections["Feature distance"] = distance_tables(distance, findings)
    sections["Cloaking"] = cloaking_tables(of_kind(all_records, Kind.CLOAKING), findings)
    return sections


def _write_tables(tables: Sequence[Table], frame: pd.DataFrame, text: str, out: Path) -> list[Path]:
    """Tables without a value have no files: ``report.md`` says why they have none."""
    folder, written = out / "tables", []
    folder.mkdir(parents=True, exist_ok=True)

    def write(name: str, text: str) -> None:
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
        written.append(folder / name)

    write("cells.csv", cells_csv(frame))
    for table in filter(has_values, tables):
        write(f"{table.slug}.md", markdown(table))
        write(f"{table.slug}.tex", latex(table))
        write(f"{table.slug}.csv", table_csv(table))
    write("report.md", text)
    return written
