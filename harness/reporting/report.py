"""From recorded cells to tables and figures. Nothing that a run did (seconds, dates, caches) stands in a table."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from frbench.harness.core.errors import ConfigError, DataMissing
from frbench.harness.reporting.crosscheck import Findings, compare
from frbench.harness.reporting.pair_outcomes import Outcomes
from frbench.harness.reporting.summary import FIGURES, METHOD, Story, story
from frbench.harness.reporting.tables import perturbation_sizes as tabulate_sizes
from frbench.harness.reporting.tables import postprocessing as tabulate_judging
from frbench.harness.reporting.tables import success as tabulate
from frbench.harness.reporting.tables.audit import audit_tables
from frbench.harness.reporting.tables.cloaking import cloaking_tables
from frbench.harness.reporting.tables.feature_distance import distance_tables
from frbench.harness.reporting.tables.paired_sizes import size_comparison_tables
from frbench.harness.reporting.tables.paired_tests import comparison_tables
from frbench.harness.reporting.tables.rendering import Table, csv_text, latex, left_out, markdown, table_csv, telling
from frbench.harness.storage.records import Kind, Record, json_line, of_kind, order, select, tidy_row

_LONG = 100  # rows of a table that the document links instead of showing


class Store(Protocol):
    """What the report reads: records in any order, and what each cell kept beside its record."""

    def records(self) -> list[dict[str, Any]]: ...

    def scores(self, fingerprint: str) -> pd.DataFrame | None: ...

    def pictures(self, fingerprint: str) -> Mapping[str, np.ndarray] | None: ...


def report(
    store: Store,
    out: Path,
    format: str = "files",
    where: Mapping[str, Any] | None = None,
    top: int = 1,
) -> list[Path]:
    """Write tables and figures of the chosen records under ``out``, or print the records as JSON lines.

    format: ``files`` writes ``out/tables`` and ``out/figures`` and returns the paths; ``json`` prints and returns
    nothing. where: see ``records.select``. top: pairs shown of each cell in the picture grids.
    """
    writers: dict[str, Callable[[Store, list[Record], Findings, Path, int], list[Path]]] = {
        "files": _files,
        "json": _print,
    }
    if format not in writers:
        raise ConfigError(f"format={format} is not known; take one of {', '.join(writers)}")
    records = select(store.records(), where)
    return writers[format](store, records, compare(records, Outcomes(store.scores)), Path(out), top)


def _print(store: Store, records: list[Record], findings: Findings, out: Path, top: int) -> list[Path]:
    for record in records:
        sys.stdout.write(json_line(record, findings.all_flags(record)) + "\n")
    return []


def _files(store: Store, records: list[Record], findings: Findings, out: Path, top: int) -> list[Path]:
    if not records:
        raise DataMissing("no recorded cell to report on; run `frbench run` first")
    from frbench.harness.reporting.figures import collect as figures

    frame = tidy(records, findings)
    sections = _sections(store, records, findings)
    told = story(records, findings, Outcomes(store.scores))
    drawn = figures.draw(store, records, frame, out / "figures", top, told)
    document = _document(sections, drawn, _left_out_of_figures(records), told)
    return [*_write(sections, frame, document, out), *drawn]


def _sections(store: Store, everything: list[Record], findings: Findings) -> dict[str, list[Table]]:
    of_pairs = of_kind(everything, Kind.VERIFICATION, Kind.FEATURE_DISTANCE)
    records = of_kind(everything, Kind.VERIFICATION)
    outcomes = Outcomes(store.scores)
    sections = {
        "Clean accuracy": tabulate.clean_tables(of_pairs),
        "Attack success": tabulate.attack_tables(records, findings, tabulate.BEST_ACCURACY),
        "Audit": audit_tables(records, findings),
        "What the attacker gains by knowing the defense": tabulate.gap_tables(records, findings),
        "Randomised victims": tabulate_judging.draws_tables(records, findings),
        "What survives saving and re-detection": tabulate_judging.survival_tables(records, findings),
        "Smallest perturbations": tabulate_sizes.smallest_tables(records, findings, store.scores),
        "Queries": tabulate_sizes.queries_tables(records, findings, store.scores),
        "Paired comparisons": comparison_tables(records, outcomes),
        "Paired sizes": size_comparison_tables(records, outcomes),
    }
    for reading in tabulate.far_readings(records):
        sections[f"Attack success, {reading.words}"] = tabulate.attack_tables(records, findings, reading)
    sections["Feature distance"] = distance_tables(of_kind(everything, Kind.FEATURE_DISTANCE), findings)
    sections["Cloaking"] = cloaking_tables(of_kind(everything, Kind.CLOAKING), findings)
    return sections


def tidy(records: Sequence[Record], findings: Findings) -> pd.DataFrame:
    """One row per record: labels, status, all measurements, flags."""
    return pd.DataFrame([tidy_row(record, findings.all_flags(record)) for record in records])


def _write(sections: Mapping[str, Sequence[Table]], frame: pd.DataFrame, document: str, out: Path) -> list[Path]:
    folder = out / "tables"
    texts = {"cells.csv": _cells_csv(frame)}
    for table in (table for tables in sections.values() for table in tables):
        texts |= {
            f"{table.slug}.md": markdown(table),
            f"{table.slug}.tex": latex(table),
            f"{table.slug}.csv": table_csv(table),
        }
    texts["report.md"] = document
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return [folder / name for name in texts]


def _left_out_of_figures(records: Sequence[Record]) -> str:
    """What figures, which have no room for several results under one label, leave out; empty where there are none."""
    results = Counter(order(record)[:-1] for record in records if record["measurements"])
    left_out = sum(count - 1 for count in results.values())
    if not left_out:
        return ""
    return (
        f"Tables show all results, figures one of each label; {left_out} stand under a label that another has too, "
        "after weights, data or code changed. Choose by where.fingerprint.\n"
    )


def _document(sections: Mapping[str, Sequence[Table]], drawn: Sequence[Path], note: str, told: Story | None) -> str:
    """The story with its figures, the tables that have a result, the other figures, and what has no result."""
    pictures = [path for path in drawn if path.suffix == ".png"]
    first = [path for path in pictures if path.stem.startswith(FIGURES)]
    parts = ["# Report", ""]
    if told:
        parts += [*(f"{sentence}\n" for sentence in told.sentences), f"*{METHOD}*\n", *map(_figure, first)]
    empty: list[str] = []
    for title, tables in sections.items():
        shown = [(table, telling(table)) for table in tables]
        empty += [f"- {title}: [{table.title}]({table.slug}.md)" for table, rest in shown if rest is None]
        texts = [_shown(table, rest) for table, rest in shown if rest is not None]
        parts += [f"## {title}", "", *texts] if texts else []
    others = [path for path in pictures if path not in first]
    if others:
        parts += ["## Figures", "", *([note] if note else []), *map(_figure, others)]
    if empty:
        parts += ["## Tables without a result", "", "Every row is `=` or `n/a`.", "", *empty, ""]
    return "\n".join(parts)


def _figure(path: Path) -> str:
    return f"![{path.stem}](../figures/{path.name})\n"


def _shown(table: Table, rest: Table) -> str:
    """``rest`` of ``table``, and what is left out of it."""
    if len(rest.rows) > _LONG:
        return f"### {table.title}\n\n{len(table.rows)} rows: [{table.slug}.md]({table.slug}.md)\n"
    return "\n".join(part for part in (markdown(rest), left_out(table, rest)) if part)


def _cells_csv(frame: pd.DataFrame) -> str:
    return csv_text(list(frame.columns), [[_written(v) for v in row] for row in frame.itertuples(index=False)])


def _written(value: Any) -> str:
    """Text of one value: empty for nothing, ten significant digits for numbers that are not whole."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    return f"{value:.10g}" if isinstance(value, float) else str(value)
