"""Pages of reference results: a manifest and a table of cells as Markdown. Pure.

A table of a page is selected and laid out by its manifest. Templates are format strings over the columns of the cells,
``"{asr:.1p} [{asr_low:.0p}, {asr_high:.0p}]"``; the format ``p`` prints a proportion in percent without the sign. A
list of templates means the first of which all values are present.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from string import Formatter
from typing import Any

import pandas as pd

from frbench.harness.core.errors import ConfigError
from frbench.harness.reporting.reference_manifest import Manifest, MeasuredFacts, TableLayout, Templates
from frbench.harness.reporting.tables.rendering import MISSING

MEASURED, TRANSCRIBED = "measured", "transcribed"
MARK = " †"
_GENERATED = "<!-- Generated from {source} by scripts/reference_results.py; edit those and render again. -->"
_ABOUT = """\
Measurements of this project, one folder per study. `cells.csv` holds the numbers, `manifest.yaml` the commands and
the interpretation, and `README.md` is generated from both. A *measured* cell is taken from the records of a run. A
*transcribed* cell is carried over from an earlier document of this project, with the commit that brought the number
in."""
_PAPERS = "Published values beside ours; [Reproduce a paper's table](../../docs/papers.md) explains the readings."
_HOW = """\
Write the pages again with `python scripts/reference_results.py render`. Take the records of a results folder into a
study with `python scripts/reference_results.py collect STUDY --results FOLDER`."""
_NUMBER = re.compile(r"\[?[−-]?\d|[–∞]")
Row = Mapping[str, Any]


def page(manifest: Manifest, cells: pd.DataFrame) -> str:
    """The page of a study as Markdown.

    Args:
        manifest: the study.
        cells: its cells, with the columns ``source`` and ``commit``.

    Raises:
        ConfigError: a table selects no cell, or several cells for one place.
    """
    parts = [_GENERATED.format(source="manifest.yaml and cells.csv"), f"# {manifest.title}", f"**{manifest.question}**"]
    parts += [manifest.text.strip(), "## Where the numbers come from", provenance(manifest, cells)]
    rows = present_values(cells)
    parts += ["## Tables", *(_table(layout, manifest, rows) for layout in manifest.tables)]
    if manifest.figures:
        parts += ["## Figures"]
        parts += [f"![{figure.caption}](figures/{figure.file})\n\n{figure.caption}" for figure in manifest.figures]
    parts += ["## How to repeat it", *repetition(manifest)]
    return "\n\n".join(part for part in parts if part) + "\n"


def index(studies: Mapping[str, tuple[Manifest, pd.DataFrame]], papers: Mapping[str, tuple[str, str]]) -> str:
    """The page that lists all studies, and tables of papers with their title and counts, by folder name."""
    rows = []
    for name, (manifest, cells) in studies.items():
        counts = cells["source"].value_counts()
        numbers = [str(counts.get(source, 0)) for source in (MEASURED, TRANSCRIBED)]
        run = [manifest.date or MISSING, _duration(manifest.hours) or MISSING]
        rows.append([f"[{manifest.title}]({name}/README.md)", manifest.question, *numbers, *run])
    parts = [_GENERATED.format(source="the manifests and cells.csv of the studies"), "# Reference results", _ABOUT]
    table = markdown_table(
        ["study", "question", "measured cells", "transcribed cells", "measured on", "wall-clock time"], rows
    )
    listed = [[f"[{title}]({name}/README.md)", counts] for name, (title, counts) in papers.items()]
    beside = markdown_table(["table of a paper", "cells"], listed)
    return "\n\n".join([*parts, table, "## Tables of papers", _PAPERS, beside, _HOW]) + "\n"


def provenance(manifest: Manifest, cells: pd.DataFrame) -> str:
    """Sentences that say how many cells were measured and how many were transcribed, by which commits and why.

    Raises:
        ConfigError: cells were transcribed, and the manifest gives no reason.
    """
    measured, transcribed = (cells[cells["source"] == source] for source in (MEASURED, TRANSCRIBED))
    sentences = []
    if len(measured):
        commits = _commits(measured)
        sentences.append(f"Measured: {len(measured)} of {len(cells)} cells, at {commits}, on {manifest.date}.")
    if len(transcribed):
        if manifest.transcribed is None:
            raise ConfigError(f"{manifest.title}: cells are transcribed, but the manifest has no `transcribed: why:`")
        marked = f", marked{MARK}" if len(measured) else ""
        sentences.append(
            f"Transcribed: {len(transcribed)} of {len(cells)} cells{marked}, from the README, into which "
            f"{_commits(transcribed)} brought them. {manifest.transcribed.why}"
        )
        if manifest.transcribed.machine:
            sentences.append(f"Machine of the transcribed cells: {manifest.transcribed.machine}.")
    return "\n\n".join(sentences)


def _commits(cells: pd.DataFrame) -> str:
    found = [f"`{commit}`" for commit in dict.fromkeys(cells["commit"])]
    return f"commit {found[0]}" if len(found) == 1 else f"commits {', '.join(found[:-1])} and {found[-1]}"


def _table(layout: TableLayout, manifest: Manifest, rows: Sequence[Row]) -> str:
    mixed = len({row["source"] for row in rows}) > 1
    chosen = list(selected(rows, layout.where, manifest.labels))
    if not chosen:
        raise ConfigError(f"table '{layout.title}' of '{manifest.title}' selects no cell; check its where")
    header, body = _pivoted(layout, chosen, mixed) if layout.pivot else _flat(layout, chosen, mixed)
    return "\n\n".join(part for part in (f"### {layout.title}", markdown_table(header, body), layout.caption) if part)


def present_values(cells: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of ``cells`` without missing values; whole numbers are integers."""
    rows = cells.convert_dtypes().astype(object).to_dict("records")
    return [{str(key): value for key, value in row.items() if not pd.isna(value)} for row in rows]


def selected(rows: Iterable[Row], where: Mapping[str, Any], labels: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The rows that match ``where``, with ``labels`` put in place of values.

    ``where``: pattern, or list of patterns, by column (``*`` for any present value); None for a missing value.
    """
    for row in rows:
        if all(_matches(row.get(column), patterns) for column, patterns in where.items()):
            yield {key: labels.get(value, value) if isinstance(value, str) else value for key, value in row.items()}


def _matches(value: Any, patterns: Any) -> bool:
    if isinstance(patterns, list):
        return any(_matches(value, pattern) for pattern in patterns)
    if patterns is None or value is None:
        return value is None and patterns is None
    return fnmatchcase(str(value), str(patterns))


class _Percents(Formatter):
    """Format strings with ``p`` for proportions in percent without the sign, and ``−`` for minus."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        return kwargs[field_name], field_name  # names of columns have dots

    def format_field(self, value: Any, spec: str) -> str:
        if isinstance(value, str):
            return format(value, spec)
        text = format(100 * value, f"{spec[:-1]}f") if spec.endswith("p") else format(value, spec)
        return text.replace("-", "−", 1).replace("inf", "∞")


def fill(templates: Templates, row: Row) -> str:
    """The first template of which ``row`` has all values, filled; a dash if there is none."""
    for template in [templates] if isinstance(templates, str) else templates:
        if all(name in row for _, name, _, _ in Formatter().parse(template) if name is not None):
            return _Percents().vformat(template, (), row)
    return MISSING


def _flat(layout: TableLayout, rows: Sequence[Row], mixed: bool) -> tuple[list[str], list[list[str]]]:
    body = []
    for row in rows:
        first, *others = (fill(templates, row) for templates in layout.columns.values())
        body.append([first + (MARK if mixed and row["source"] == TRANSCRIBED else ""), *others])
    return list(layout.columns), _repeats_blank(body) if not mixed else body


def _pivoted(layout: TableLayout, rows: Sequence[Row], mixed: bool) -> tuple[list[str], list[list[str]]]:
    found: dict[tuple[str, ...], dict[str, str]] = {}
    heads: dict[str, None] = dict.fromkeys(layout.order)
    for row in rows:
        stub = tuple(fill(templates, row) for templates in layout.rows.values())
        head, line = fill(layout.pivot or "", row), found.setdefault(stub, {})
        if head in line:
            raise ConfigError(f"table '{layout.title}' has several cells for {', '.join(stub)} and {head}")
        line[head] = fill(layout.value or "", row) + (MARK if mixed and row["source"] == TRANSCRIBED else "")
        heads.setdefault(head)
    body = [[*stub, *(line.get(head, MISSING) for head in heads)] for stub, line in found.items()]
    return [*layout.rows, *heads], _repeats_blank(body)


def _repeats_blank(body: list[list[str]]) -> list[list[str]]:
    """Rows whose first entry is blank where it repeats the row above."""
    return [["" if i and row[0] == body[i - 1][0] and len(row) > 2 else row[0], *row[1:]] for i, row in enumerate(body)]


def markdown_table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table; columns of numbers are aligned to the right."""
    right = [all(_NUMBER.match(row[i]) or not row[i] for row in body) for i in range(len(header))]
    rule = ["---:" if aligned else "---" for aligned in right]
    lines = [header, rule, *body]
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines)


def _duration(hours: float | None) -> str:
    if hours is None:
        return ""
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def repetition(manifest: MeasuredFacts) -> Iterator[str]:
    """The commands of a page and the facts of its measured cells, as blocks of Markdown."""
    if manifest.commands:
        yield "```\n" + "\n".join(manifest.commands) + "\n```"
    versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    digests = ", ".join(f"{name} `{digest[:12]}`" for name, digest in manifest.digests.items())
    facts = {
        "commit": f"`{manifest.commit}`" if manifest.commit else "",
        "date": manifest.date,
        "wall-clock time": _duration(manifest.hours),
        "machine": manifest.machine,
        "versions": versions,
        "seeds": ", ".join(map(str, manifest.seeds)),
        "digests (SHA-256, first 12 digits)": digests,
    }
    lines = [f"- {name}: {value}" for name, value in facts.items() if value]
    if lines:
        yield "Of the measured cells:"
        yield "\n".join(lines)
