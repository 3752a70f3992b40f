"""Every table of ``conf/paper``: its numbers, its sources, and the experiment that measures ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from frbench.harness.cli.paper_report import packaged_reasons, packaged_table
from frbench.harness.config.cell_labels import FACES, option_names, split_faces
from frbench.harness.config.compose import ComposedCell, composed_cells
from frbench.harness.config.conf_files import known_options
from frbench.harness.config.paper_files import paper_names
from frbench.harness.reporting.paper.matching import matches
from frbench.harness.reporting.paper.paper_table import Place, Size
from frbench.harness.reporting.paper.readings import check_reasons

NAMES = paper_names()

# The published numbers, typed from the specification and not from the YAML. Row by row, in the order of the columns.
PUBLISHED: dict[str, dict[str, list[float | None]]] = {
    "ensembles_accuracy": {
        "single": [99.30, 89.60, 94.22],
        "adp": [98.90, 86.20, 90.52],
        "advt": [99.21, 90.80, 94.38],
        "shared_ensemble": [99.40, 89.97, 95.15],
    },
}


@cache
def planned(name: str, size: Size) -> tuple[dict[str, Any], ...]:
    """What the records of the experiment will have, from the composed cells."""
    words = [f"experiment={packaged_table(name).experiment}", f"size={size}"]
    return tuple(map(as_record, composed_cells(words)))


def as_record(cell: ComposedCell) -> dict[str, Any]:
    faces, others = split_faces(cell.settings)
    settings = {**others, **faces, "defense.faces": cell.choices[FACES]}
    return {"names": option_names(cell.choices), "settings": settings, "seed": cell.config["seed"]}


def fits(record: Mapping[str, Any], place: Place) -> bool:
    return all(matches(record, where) for where in place.where)


def test_that_the_numbers_are_those_of_the_specification() -> None:
    assert set(PUBLISHED) == set(NAMES)
    for name, rows in PUBLISHED.items():
        table = packaged_table(name)
        typed = {(row, column): value for row in rows for column, value in zip(table.columns, rows[row], strict=True)}
        found = {(place.cell.row, place.cell.column): place.cell.published for place in table.places()}
        assert {key: value for key, value in found.items() if value is not None} == {
            key: value for key, value in typed.items() if value is not None
        }, name


@pytest.mark.parametrize("name", NAMES)
def test_that_each_published_value_has_a_source_and_the_day_of_its_check(name: str) -> None:
    table = packaged_table(name)
    assert table.paper.url.startswith("https://")
    for cell in table.cells:
        if cell.published is not None:
            assert len(cell.source or "") > 10
            assert re.fullmatch(r"20\d\d-\d\d-\d\d", cell.checked or "")


@pytest.mark.parametrize("name", NAMES)
def test_that_every_reason_is_known_and_gives_a_sentence(name: str) -> None:
    reasons = packaged_reasons()
    check_reasons(packaged_table(name), reasons)
    assert all(reason.text.endswith(".") and len(reason.short) < 40 for reason in reasons.values())


@pytest.mark.parametrize("name", NAMES)
def test_that_each_row_and_column_chooses_options_that_exist(name: str) -> None:
    table, options = packaged_table(name), known_options()
    for line in (*table.rows.values(), *table.columns.values()):
        chosen = {noun: wanted for noun, wanted in {**table.where, **line.where}.items() if noun in options}
        assert chosen, line.label
        for noun, wanted in chosen.items():
            assert set(wanted if isinstance(wanted, list) else [wanted]) <= set(options[noun]), line.label


@pytest.mark.parametrize("name", NAMES)
def test_that_the_experiment_covers_every_cell_that_is_not_blank(name: str) -> None:
    """At the full size; the small size leaves out the rows and columns that say so."""
    for size in Size:
        for place in packaged_table(name).places():
            if place.cell.reason is None and place.size in (None, size):
                fitting = [record for record in planned(name, size) if fits(record, place)]
                assert fitting, f"{size}: {place.row.label}, {place.column.label}"
                assert place.measure.mean or len(fitting) == 1, f"{size}: {place.row.label}, {place.column.label}"


@pytest.mark.parametrize("name", NAMES)
def test_that_every_cell_of_the_experiment_has_a_place_and_its_size_is_told(name: str) -> None:
    table = packaged_table(name)
    for size in Size:
        for record in planned(name, size):
            assert any(fits(record, place) for place in table.places()), record
            assert matches(record, table.small) == (size is Size.SMALL), record
