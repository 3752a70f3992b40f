"""``frbench report``: its formats, and the records that they are about.

No table has a date or a path, so that the same records always give the same files.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from frbench.harness.core.errors import ConfigError, DataMissing
from frbench.harness.reporting.crosscheck import Findings, compare
from frbench.harness.reporting.pair_outcomes import CellFiles, Outcomes
from frbench.harness.storage.records import Record, json_line, select

DRAWN = ("main", "all")  # which figures are drawn
FIGURES = (*DRAWN, "none")


class Store(CellFiles, Protocol):
    """A result store: records in any order, and the files of their cells."""

    def records(self) -> list[dict[str, Any]]:
        """All records."""
        ...

    def record(self, fingerprint: str) -> dict[str, Any] | None:
        """A record with its config, or None."""
        ...


@dataclass(frozen=True)
class Request:
    """What is reported, and how.

    Attributes:
        store: the files of the cells.
        records: the selected ones, in natural order.
        findings: comparisons between the records.
        outcomes: comparisons of two records pair by pair.
        out: folder for the files.
        top: pairs per cell in the image grids.
        figures: one of ``FIGURES``.
        timing: whether tables show the cost of a defense, a fact of the run.
    """

    store: Store
    records: list[Record]
    findings: Findings
    outcomes: Outcomes
    out: Path
    top: int = 1
    figures: str = "main"
    timing: bool = True


def report(
    store: Store,
    out: Path,
    format: str = "files",
    where: Mapping[str, Any] | None = None,
    top: int = 1,
    figures: str = "main",
    timing: bool = True,
) -> list[Path]:
    """Write tables and figures of the selected records, or print the records.

    Args:
        store: where the records are.
        out: folder for ``tables`` and ``figures``, or for ``report.html``; with ``html`` also the name of the file.
        format: ``files`` writes tables and figures; ``json`` prints the records as JSON lines;
            ``html`` writes all in one page; ``card`` writes a run card of each.
        where: selects records, see ``storage.records.select``.
        top: pairs per cell in the image grids.
        figures: ``main`` draws the figures that the report opens with and the curves; ``all`` also those of every
            defense; ``none`` draws none, since figures take far longer than the tables.
        timing: whether tables show the cost of a defense, which differs between two runs of the same cells.

    Returns:
        The paths of the written files.

    Raises:
        ConfigError: ``format`` or ``figures`` is unknown, or ``where`` matches no record.
        DataMissing: there are no records.
    """
    writers: dict[str, Callable[[Request], list[Path]]] = {
        "files": _write_files,
        "json": _print_lines,
        "html": _write_page,
        "card": _write_cards,
    }
    if format not in writers:
        raise ConfigError(f"unknown format={format}; choose from {', '.join(writers)}")
    if figures not in FIGURES:
        raise ConfigError(f"unknown figures={figures}; choose from {', '.join(FIGURES)}")
    records, outcomes = select(store.records(), where), Outcomes(store.scores, getattr(store, "decisions", None))
    findings = compare(records, outcomes)
    return writers[format](Request(store, records, findings, outcomes, Path(out), top, figures, timing))


def _print_lines(request: Request) -> list[Path]:
    for record in request.records:
        sys.stdout.write(json_line(record, request.findings.all_flags(record)) + "\n")
    return []


def _write_cards(request: Request) -> list[Path]:
    from frbench.harness.reporting.run_cards import write_cards

    findings = compare(request.store.records(), request.outcomes)
    return write_cards(request.store, request.records, findings, request.out)


def _write_files(request: Request) -> list[Path]:
    from frbench.harness.reporting.report_files import write_files

    _check_any(request)
    return write_files(request)


def _write_page(request: Request) -> list[Path]:
    from frbench.harness.reporting.html.report_page import write_page

    _check_any(request)
    return write_page(request)


def _check_any(request: Request) -> None:
    if not request.records:
        raise DataMissing("no records to report on; run `frbench run` first")
