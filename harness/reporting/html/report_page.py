"""``frbench report format=html``: the report as a page, with tables, plots, sample images and run cards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from frbench.harness.reporting.headline import Headline, headlines
from frbench.harness.reporting.html.blocks import (
    Block,
    Folded,
    Picture,
    Pictures,
    Plot,
    RunCard,
    Section,
    TableBlock,
    Text,
)
from frbench.harness.reporting.html.page import Page
from frbench.harness.reporting.html.scripts import plotly_file
from frbench.harness.reporting.report_files import table_sections
from frbench.harness.reporting.summary import METHOD, summarize
from frbench.harness.reporting.tables.headline import headline_tables
from frbench.harness.reporting.tables.rendering import Table, without_empty
from frbench.harness.reporting.views.asr_curves import budget_plots, size_plots
from frbench.harness.reporting.views.knowledge import accuracy_plot, knowledge_plot
from frbench.harness.reporting.views.plot_parts import PlotView
from frbench.harness.reporting.views.run_cards import facts, repeat_command
from frbench.harness.reporting.views.sample_images import Strip, cell_words, strips
from frbench.harness.reporting.views.unfinished import left_out_table, unfinished_table
from frbench.harness.storage.portable_record import portable
from frbench.harness.storage.records import Record, measured

if TYPE_CHECKING:
    from frbench.harness.reporting.report import Request

NAME = "report.html"
_SHOWN_TABLES = 2  # of a section; more are folded
_MOST_TABLES = 12  # of a section
_MOST_PLOTS = 16  # of curves
_MOST_STRIPS = 60  # of sample images; the page has a limit of bytes besides
_MOST_CARDS = 500


def write_page(request: Request) -> list[Path]:
    """Write the page to ``request.out`` if that is the name of an HTML file, else to ``report.html`` in that folder.

    Returns:
        Its path.

    Raises:
        ConfigError: plotly is not installed.
    """
    plotly_file()  # before the work
    path = request.out if request.out.suffix == Path(NAME).suffix else request.out / NAME
    return [report_page(request).write(path)]


def report_page(request: Request) -> Page:
    """The report of the records of ``request``."""
    summary = summarize(request.records, request.findings, request.outcomes)
    found = headlines(request.records, request.findings, request.outcomes)
    tables = {title: _tables(each) for title, each in table_sections(request).items()}
    sections = {
        "Main results": tuple(_main_results(request, found)),
        "Curves": tuple(_curves(request)),
        **tables,
        "Sample images": tuple(_sample_images(request)),
        "Cells without a result": tuple(_unfinished(request)),
        "Runs": tuple(_run_cards(request)),
    }
    return Page(
        "Report",
        tuple(Section(title, blocks) for title, blocks in sections.items() if blocks),
        (*summary, METHOD) if summary else (),
        f"frbench {version('frbench')}. {_counted(len(request.records), 'cell')}. "
        "This file loads nothing from a network.",
    )


def _main_results(request: Request, found: Sequence[Headline]) -> Iterator[Block]:
    """The first headline with its plots; the others are folded."""
    shown = headline_tables(found, request.findings, request.timing)
    for number, (headline, table) in enumerate(zip(found[:_MOST_TABLES], shown, strict=False)):
        plots = [view for view in (knowledge_plot(headline), accuracy_plot(headline)) if view is not None]
        blocks: tuple[Block, ...] = (TableBlock(table), *map(_plot, plots))
        yield from blocks if number == 0 else [Folded(table.title, blocks)]
    yield from _left_out(len(found), _MOST_TABLES, "table")


def _curves(request: Request) -> Iterator[Block]:
    plots = [*budget_plots(request.records), *size_plots(request.store.scores, request.records)]
    yield from map(_plot, plots[:_MOST_PLOTS])
    yield from _left_out(len(plots), _MOST_PLOTS, "plot")


def _plot(view: PlotView) -> Plot:
    return Plot(view.title, view.caption, view.figure)


def _tables(tables: Iterable[Table]) -> tuple[Block, ...]:
    found = [shown for table in tables if (shown := without_empty(table)) is not None]
    blocks: list[Block] = [TableBlock(table) for table in found[:_SHOWN_TABLES]]
    folded = tuple(TableBlock(table) for table in found[_SHOWN_TABLES:_MOST_TABLES])
    if folded:
        blocks.append(Folded(f"More: {_counted(len(folded), 'table')}", folded))
    return (*blocks, *_left_out(len(found), _MOST_TABLES, "table"))


def _left_out(count: int, shown: int, noun: str) -> Iterator[Block]:
    """A note where a section does not show everything."""
    if count > shown:
        yield Text(
            (f"The first {shown} of {count} {noun}s. Select others with where, such as where.attack=pgd.",), True
        )


def _sample_images(request: Request) -> Iterator[Block]:
    attacked = [record for record in request.records if measured(record, "attack")]
    found = (strip for record in attacked for strip in strips(request.store, record, request.top))
    for strip in islice(found, _MOST_STRIPS):
        yield _pictures(strip)
    if next(found, None) is not None:
        yield Text((f"The first {_MOST_STRIPS}. Select others with where, such as where.defense=jpeg.",), True)


def _pictures(strip: Strip) -> Pictures:
    return Pictures(strip.title, tuple(Picture(*image) for image in strip.images))


def _unfinished(request: Request) -> Iterator[Block]:
    left_out: Mapping[str, str] = getattr(request.store, "left_out", dict)()
    for table in (unfinished_table(request.records), left_out_table(left_out)):
        if table is not None:
            yield TableBlock(table)


def _run_cards(request: Request) -> Iterator[Block]:
    for record in request.records[:_MOST_CARDS]:
        whole = request.store.record(record["fingerprint"])
        if whole is not None:
            yield _run_card(portable(whole), request.findings.all_flags(record))
    yield from _left_out(len(request.records), _MOST_CARDS, "run")


def _run_card(record: Record, flags: Sequence[str]) -> RunCard:
    return RunCard(f"{record['fingerprint'][:8]}: {cell_words(record)}", facts(record, flags), repeat_command(record))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
