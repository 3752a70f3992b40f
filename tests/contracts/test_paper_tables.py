"""Every table of ``conf/paper``: its numbers, its sources, and the experiment that measures ours."""

from __future__ import annotations

import json
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
    "ensembles_robustness": {},
    "mter": {
        "arcface_casia": [99.3, 100.0, 100.0, 98.3, 99.5, 95.6],
        "adv_casia": [5.1, 5.7, 49.5, 0.8, 99.4, 94.7],
        "mter_casia": [2.0, 3.5, 27.4, 0.1, 99.5, 94.8],
        "arcface_vggface2": [98.3, 100.0, 100.0, 100.0, 99.7, 97.7],
        "adv_vggface2": [3.1, 5.5, 63.8, 0.1, 99.5, 97.2],
        "mter_vggface2": [4.6, 6.1, 35.6, 0.1, 99.6, 97.5],
        "arcface_ms1m": [99.8, 100.0, 100.0, 69.2, 99.7, 97.0],
        "adv_ms1m": [45.4, 20.1, 62.6, 0.1, 99.6, 96.2],
        "mter_ms1m": [4.1, 7.9, 61.4, 0.0, 99.8, 96.9],
        "mter_ms1m_vggface2": [9.6, 6.2, 19.5, 0.1, 99.5, 96.8],
    },
    "pin_ais": {},
    "puface": {"none": [*[None] * 6, 69.84, *[None] * 7], "puface": [*[None] * 6, 7.61, *[None] * 7]},
    "puface_amplification": {},
    "robfr_whitebox": {
        "facenet": [99.2, 0.92, 1.17, 0.59, 0.66, 0.66, 0.73, 0.54, 0.61, 1.75, 2.14, 1.17, 1.31, 1.28, 1.42],
        "sphereface": [98.2, 0.73, 0.64, 0.58, 0.52, 0.62, 0.55, 0.56, 0.50, 1.31, 1.11, 1.06, 0.92, 1.12, 0.97],
        "cosface": [98.7, 0.97, 0.73, 0.69, 0.56, 0.75, 0.59, 0.65, 0.54, 1.69, 1.25, 1.30, 1.00, 1.39, 1.06],
        "arcface": [99.5, 1.09, 0.80, 0.83, 0.66, 0.89, 0.69, 0.79, 0.64, 1.97, 1.42, 1.53, 1.20, 1.62, 1.25],
        "mobileface": [99.5, 1.11, 0.62, 0.75, 0.50, 0.83, 0.53, 0.71, 0.49, 1.98, 1.12, 1.44, 0.94, 1.55, 0.97],
        "mobilenet": [99.4, 1.03, 0.64, 0.67, 0.47, 0.73, 0.50, 0.62, 0.44, 1.75, 1.08, 1.22, 0.83, 1.31, 0.88],
        "mobilenet_v2": [99.3, 0.89, 0.64, 0.62, 0.50, 0.69, 0.53, 0.59, 0.48, 1.55, 1.12, 1.17, 0.91, 1.25, 0.95],
        "shufflenetv1": [99.5, 1.12, 0.53, 0.67, 0.41, 0.75, 0.44, 0.62, 0.39, 2.02, 0.97, 1.28, 0.77, 1.39, 0.80],
        "shufflenetv2": [99.2, 1.06, 0.62, 0.66, 0.45, 0.72, 0.48, 0.61, 0.43, 1.86, 1.08, 1.23, 0.84, 1.31, 0.88],
        "resnet50": [99.7, 1.53, 0.84, 0.86, 0.58, 0.97, 0.62, 0.79, 0.55, 2.64, 1.44, 1.59, 1.05, 1.75, 1.11],
        "ir": [99.6, 1.30, 1.05, 0.84, 0.73, 0.94, 0.81, 0.78, 0.71, 2.36, 1.86, 1.66, 1.41, 1.80, 1.50],
        "jpeg": [99.6, 2.46, 2.00, 1.36, 1.16, 1.31, 1.12, 0.75, 0.67, 4.19, 3.31, 2.77, 2.23, 2.58, 2.16],
        "bit_red": [99.6, 1.37, 1.06, 0.86, 0.73, 0.92, 0.78, 0.78, 0.74, 3.00, 2.00, 2.00, 1.12, 2.00, 1.67],
        "r_p": [99.4, 4.50, 8.01, 2.05, 2.20, 2.28, 2.50, 1.86, 2.02, 8.00, 10.31, 4.56, 4.77, 4.25, 4.59],
        "pgd_at": [91.3, 4.14, 3.95, 2.37, 2.37, 2.70, 2.70, 2.06, 2.14, 12.94, 12.38, 10.34, 10.23, 10.83, 10.62],
        "trades": [91.0, 4.37, 4.41, 2.70, 2.73, 3.03, 3.03, 2.38, 2.51, 12.69, 12.12, 10.59, 10.30, 10.97, 10.64],
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
        for where in line.where if isinstance(line.where, list) else [line.where]:
            chosen = {noun: wanted for noun, wanted in {**table.where, **where}.items() if noun in options}
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


def test_that_no_cell_takes_a_record_of_another_table_in_the_same_results_folder() -> None:
    for size in Size:
        everything = {json.dumps(record, sort_keys=True): record for name in NAMES for record in planned(name, size)}
        for name in NAMES:
            own = {json.dumps(record, sort_keys=True) for record in planned(name, size)}
            places = [place for place in packaged_table(name).places() if place.cell.reason is None]
            foreign = [record for key, record in everything.items() if key not in own]
            wrong = [place for place in places if any(fits(record, place) for record in foreign)]
            assert not wrong, f"{name}, {size}: {wrong[0].row.label}, {wrong[0].column.label}"
