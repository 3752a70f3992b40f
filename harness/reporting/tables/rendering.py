"""Tables as data, and how they are written: Markdown, LaTeX (booktabs) and CSV. Pure and deterministic."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, pairwise
from string import ascii_lowercase

from frbench.harness.reporting.file_names import FileName, file_names

MISSING = "–"
NO_VALUE = frozenset({MISSING, "n/a"})  # values of cells without a result
NO_RESULT = NO_VALUE | {"="}  # the same, and no significant difference
_TAG = re.compile(r"<(?=[A-Za-z/!?])")  # where Markdown would begin an HTML element
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
CLEAN, DOUBTED = "✓", "⚠"  # badges: audited without a doubt; a flag must be explained first


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table.

    Attributes:
        value: the main value.
        detail: its interval and counts.
        notes: footnotes; equal ones are printed once.
        badge: ``CLEAN``, ``DOUBTED`` or empty.
        bold: whether the value is printed in bold, as that of a leader.
    """

    value: str
    detail: str = ""
    notes: tuple[str, ...] = ()
    badge: str = ""
    bold: bool = False

    @property
    def text(self) -> str:
        if not (self.detail or self.badge):
            return self.value
        return " ".join(part for part in (self.value, self.detail, self.badge) if part)


@lru_cache(100_000)
def plain(value: str) -> Cell:
    """A cell with this value alone; equal ones are one object, which saves memory in long tables."""
    return Cell(value)


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        slug: file name without its ending; what it is made of until the tables of a report are named (``named``).
        title: one line.
        caption: what the values are.
        header: names of the columns.
        rows: cells, as many per row as columns.
        stub: number of leading columns that name the rows; repeated values of the first are printed once.
        results: number of trailing columns with results; None for all after the stub.
    """

    slug: str | FileName
    title: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    stub: int
    results: int | None = None

    def marks(self) -> dict[str, str]:
        """The letter of each note, in order of appearance."""
        notes = dict.fromkeys(note for row in self.rows for cell in row for note in cell.notes)
        return {note: _letters(i) for i, note in enumerate(notes)}


def without_empty(table: Table) -> Table | None:
    """The table without empty columns and rows without a result; None if no row is left."""
    first = table.stub if table.results is None else len(table.header) - table.results
    rows = [row for row in table.rows if any(cell.value not in NO_RESULT for cell in row[first:])]
    if not rows:
        return None
    kept = [
        column
        for column in range(len(table.header))
        if column < table.stub or any(row[column].value not in NO_RESULT for row in rows)
    ]
    return replace(
        table,
        header=tuple(table.header[column] for column in kept),
        rows=tuple(tuple(row[column] for column in kept) for row in rows),
    )


def has_values(table: Table) -> bool:
    """Whether some result of the table is known, be it that two are equal."""
    first = table.stub if table.results is None else len(table.header) - table.results
    return any(cell.value not in NO_VALUE for row in table.rows for cell in row[first:])


def left_out(table: Table, shown: Table) -> str:
    """One line on the rows and columns of ``table`` that ``shown`` does not have; empty if it has all."""
    rows = len(table.rows) - len(shown.rows)
    columns = [name for name in table.header if name not in shown.header]
    parts = [f"{rows} rows without a result" if rows > 1 else "a row without a result"] if rows else []
    for name in columns:
        at = table.header.index(name)
        notes = dict.fromkeys(note for row in table.rows for note in row[at].notes)
        parts.append(f"{name} ({'; '.join(notes)})" if notes else name)
    return f"Not shown here, see [{table.slug}.md]({table.slug}.md): {inline('; '.join(parts))}.\n" if parts else ""


def joined(cells: Sequence[Cell], note: str) -> Cell:
    """One cell of several: equal ones once, different ones side by side with the footnote ``note``."""
    distinct = list(dict.fromkeys(cells))
    if len(distinct) == 1:
        return distinct[0]
    notes = dict.fromkeys(n for cell in distinct for n in cell.notes)
    return Cell(" / ".join(cell.text for cell in distinct), notes=(*notes, note))


def named(tables: Sequence[Table]) -> list[Table]:
    """The tables with distinct file names, short enough to type."""
    names = file_names([each.slug if isinstance(each.slug, FileName) else FileName(each.slug) for each in tables])
    return [replace(table, slug=name) for table, name in zip(tables, names, strict=True)]


def _letters(number: int) -> str:
    head, tail = divmod(number, len(ascii_lowercase))
    return (_letters(head - 1) if head else "") + ascii_lowercase[tail]


def markdown(table: Table) -> str:
    """Markdown: heading, table, caption and footnotes."""
    marks = table.marks()
    body = [[_markdown(cell, marks) for cell in row] for row in table.rows]
    lines = [[_piped(text) for text in table.header], *_once(body)]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(table.header))]
    rule = ["-" * w if i < table.stub else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    rows = [_line(lines[0], widths), _line(rule, widths), *(_line(line, widths) for line in lines[1:])]
    notes = [f"- <sup>{mark}</sup> {inline(note)}" for note, mark in marks.items()]
    return "\n".join(
        [f"### {inline(table.title)}", "", *rows, "", inline(table.caption), *(["", *notes] if notes else []), ""]
    )


def _markdown(cell: Cell, marks: dict[str, str]) -> str:
    if cell.bold:
        cell = replace(cell, value=f"**{cell.value}**")
    if not cell.notes:
        return _piped(cell.text)
    return f"{_piped(cell.text)} <sup>{','.join(marks[note] for note in cell.notes)}</sup>"


def _piped(text: str) -> str:
    return inline(text).replace("|", "\\|")


def inline(text: str) -> str:
    """``text`` on one line of Markdown: no HTML, no links, no control characters."""
    if "<" in text or "](" in text or not text.isprintable():
        return _CONTROLS.sub(" ", _TAG.sub("&lt;", text)).replace("](", "]\\(")
    return text


def _line(texts: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)) + " |"


def _once(body: list[list[str]]) -> list[list[str]]:
    """Rows whose first column is blank if it repeats the row above."""
    first = [None, *(row[0] for row in body)]
    return [["" if row[0] == above else row[0], *row[1:]] for row, above in zip(body, first, strict=False)]


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "–": "--",
        "−": "$-$",
        "±": r"$\pm$",
        "×": r"$\times$",
        "≤": r"$\leq$",
        "∞": r"$\infty$",
        CLEAN: r"$\surd$",
        DOUBTED: r"$\triangle$",
    }
    | {c: f"\\{c}" for c in "&%$#_{}"}
)


@lru_cache(50_000)
def latex_escape(text: str) -> str:
    """``text`` with the special characters of LaTeX escaped."""
    return text.translate(_LATEX)


def latex(table: Table) -> str:
    """LaTeX ``table`` environment for booktabs: details below values, space between blocks of rows, footnotes."""
    marks = table.marks()
    columns = "l" * table.stub + "r" * (len(table.header) - table.stub)
    body = [[_latex(cell, marks) for cell in row] for row in table.rows]
    lines = [" & ".join(row) + r" \\" for row in _once(body)]
    for i, (above, row) in reversed(list(enumerate(pairwise(body), 1))):
        if above[0] != row[0]:
            lines.insert(i, r"\addlinespace")
    notes = [rf"\par\textsuperscript{{{mark}}} {latex_escape(note)}" for note, mark in marks.items()]
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"\centering\small",
            rf"\caption{{{latex_escape(table.title)}. {latex_escape(table.caption)}}}",
            rf"\label{{tab:{table.slug}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(latex_escape(text) for text in table.header) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            *([r"\par\smallskip\footnotesize\raggedright", *notes] if notes else []),
            r"\end{table}",
            "",
        ]
    )


def _latex(cell: Cell, marks: dict[str, str]) -> str:
    mark = ",".join(marks[note] for note in cell.notes) if cell.notes else ""
    badge = rf"\,{latex_escape(cell.badge)}" if cell.badge else ""
    value = rf"\textbf{{{latex_escape(cell.value)}}}" if cell.bold else latex_escape(cell.value)
    value += badge + (rf"\textsuperscript{{{mark}}}" if mark else "")
    if not cell.detail:
        return value
    return rf"\shortstack[r]{{{value}\\{{\scriptsize {latex_escape(cell.detail)}}}}}"


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """CSV text with newline endings."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(chain([header], rows))
    return stream.getvalue()


def table_csv(table: Table) -> str:
    """CSV of the printed cells, with every row complete, the footnotes in a last column, and the columns in bold."""
    rows = [[*(c.text for c in row), "; ".join(dict.fromkeys(n for c in row for n in c.notes))] for row in table.rows]
    header = (*table.header, "notes")
    if not any(cell.bold for row in table.rows for cell in row):
        return csv_text(header, rows)
    bold = ["; ".join(name for name, cell in zip(table.header, row, strict=True) if cell.bold) for row in table.rows]
    return csv_text((*header, "bold"), [[*row, each] for row, each in zip(rows, bold, strict=True)])
