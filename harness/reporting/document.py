"""``report.md``: the headline table and its figures first, then all tables and the other figures. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from frbench.harness.reporting.summary import METHOD
from frbench.harness.reporting.tables.rendering import Table, has_values, inline, left_out, markdown, without_empty
from frbench.harness.storage.records import Record, order

if TYPE_CHECKING:
    from frbench.harness.reporting.figures.collect import Drawing

_LONG = 100  # rows from which report.md links a table instead of showing it


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


def document(
    records: Sequence[Record],
    sentences: Sequence[str],
    opening: Sequence[Table],
    sections: Mapping[str, Sequence[Table]],
    drawings: Sequence[Drawing],
) -> str:
    """The text of the document.

    Args:
        records: that the report is about.
        sentences: its first ones.
        opening: tables after these, before the figures that open the report.
        sections: all other tables by the title of their section; those without results are linked at the end.
        drawings: all figures.
    """
    images = [(each, path) for each in drawings for path in each.paths if path.suffix == ".png"]
    parts = ["# Report", ""]
    if sentences:
        parts += [*(f"{inline(sentence)}\n" for sentence in sentences), f"*{METHOD}*\n"]
    parts += [_shown(table, without_empty(table) or table) for table in opening]
    parts += [_image(*image) for image in images if image[0].opens]
    empty: list[str] = []
    for title, tables in sections.items():
        reduced = [(table, without_empty(table)) for table in tables]
        empty += [_without_results(title, table) for table, shown in reduced if shown is None]
        texts = [_shown(table, shown) for table, shown in reduced if shown is not None]
        parts += [f"## {title}", "", *texts] if texts else []
    others, note = [_image(*image) for image in images if not image[0].opens], _note_on_figures(records)
    if others:
        parts += ["## Figures", "", *([note] if note else []), *others]
    if empty:
        parts += ["## Tables without results", "", *empty, ""]
    return "\n".join(parts)


def _without_results(section: str, table: Table) -> str:
    """A line on a table whose rows are all equal, or without a value: a file for the first, reasons for the second."""
    if has_values(table):
        return f"- {section}: [{inline(table.title)}]({table.slug}.md), no significant difference"
    notes = dict.fromkeys(note for row in table.rows for cell in row for note in cell.notes)
    return f"- {section}: {inline(table.title)}" + (f" ({inline('; '.join(notes))})" if notes else "")


def _image(drawing: Drawing, path: Path) -> str:
    return f"![{inline(drawing.title)}](../figures/{path.name})\n\n*{inline(drawing.caption)}*\n"


def _shown(table: Table, shown: Table) -> str:
    """``shown``, the part of ``table`` with results, and a line on the rest."""
    if len(shown.rows) > _LONG:
        return f"### {inline(table.title)}\n\n{len(table.rows)} rows: [{table.slug}.md]({table.slug}.md)\n"
    return "\n".join(part for part in (markdown(shown), left_out(table, shown)) if part)
