"""``frbench compare A B``: a comparison of two runs as a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

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
from frbench.harness.reporting.html.page import MOST_ROWS, Page
from frbench.harness.reporting.views import comparison_tables as tables
from frbench.harness.reporting.views.comparison import NAMES, Comparison
from frbench.harness.reporting.views.comparison_pictures import Samples, picture_strips
from frbench.harness.reporting.views.comparison_plot import margins_plot
from frbench.harness.reporting.views.run_cards import facts, repeat_command
from frbench.harness.storage.records import Record

_PICTURED = 4  # pairs with pictures
_CARDS = "Runs"


def comparison_page(found: Comparison, samples: tuple[Samples | None, Samples | None] = (None, None)) -> Page:
    """The page of a comparison.

    Args:
        found: the comparison.
        samples: the sample images of both runs.
    """
    sections = {
        "Result": tuple(_result(found)),
        "What differs": (TableBlock(tables.differences_table(found)),),
        "Margins": tuple(_plots(found)),
        f"Flipped {found.row}s": tuple(_flipped(found)),
        "Sample images": tuple(_pictures(found, samples)),
        _CARDS: tuple(_cards(found)),
    }
    names = " and ".join(record["fingerprint"][:8] for record in (found.a, found.b))
    return Page(
        f"Comparison of {names}",
        tuple(Section(title, blocks) for title, blocks in sections.items() if blocks),
        tuple(f"**{name}**: {tables.run_words(record)}" for name, record in _runs(found)),
        "This file loads nothing from a network.",
    )


def _runs(found: Comparison) -> Iterator[tuple[str, Record]]:
    yield from zip(NAMES, (found.a, found.b), strict=True)


def _result(found: Comparison) -> Iterator[Block]:
    if found.obstacle:
        yield Text((f"**The runs are not compared pair by pair**: {found.obstacle}.",))
    else:
        sentences = (tables.overlap_sentence(found), tables.sizes_sentence(found))
        yield Text(tuple(each for each in sentences if each))
        yield TableBlock(tables.counts_table(found))
    yield TableBlock(tables.rates_table(found))


def _plots(found: Comparison) -> Iterator[Block]:
    most_flipped_first = sorted(found.parts, key=lambda part: len(part.flipped), reverse=True)
    views = [view for part in most_flipped_first if (view := margins_plot(found, part)) is not None]
    plots = tuple(Plot(view.title, view.caption, view.figure) for view in views)
    yield from plots[:1]
    if len(plots) > 1:
        yield Folded("Other distances", plots[1:])


def _flipped(found: Comparison) -> Iterator[Block]:
    if not found.parts:
        return
    table = tables.flipped_table(found, MOST_ROWS)
    yield Text((tables.flipped_sentence(found, len(table.rows)),))
    if len(table.rows) == MOST_ROWS:
        table = replace(table, caption=f"{table.caption} frbench diff --json lists all.")
    if table.rows:
        yield TableBlock(table)


def _pictures(found: Comparison, samples: tuple[Samples | None, Samples | None]) -> Iterator[Block]:
    strips = picture_strips(found, *samples, _PICTURED)
    if strips:
        yield Text((f"Each run keeps the images of its first {found.row}s; flipped ones come first.",), is_note=True)
    for strip in strips:
        yield Pictures(strip.title, tuple(Picture(*image) for image in strip.images))


def _cards(found: Comparison) -> Iterator[Block]:
    for name, record in _runs(found):
        title = f"{name}, {record['fingerprint'][:8]}: {tables.run_words(record)}"
        yield RunCard(title, facts(record, record["flags"]), repeat_command(record))
