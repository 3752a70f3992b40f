"""A table of a paper as data: its published cells, where ours come from, and what sets the two apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from frbench.harness.core.errors import ConfigError

_Model = TypeVar("_Model", bound=BaseModel)
Wanted = str | int | float | bool | None
Where = dict[str, Wanted | list[Wanted] | dict[str, Wanted | list[Wanted]]]


class Size(StrEnum):
    """The sizes of an experiment, as in ``conf/size``."""

    SMALL = "small"
    FULL = "full"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Unit(_Strict):
    """A unit. name: as printed. factor: from the measured value. digits: after the point."""

    name: str
    factor: float = 1.0
    digits: int = Field(default=1, ge=0, le=6)


class Measure(_Strict):
    """What is read from a record: a path in its measurements, or the median of a size over its pairs.

    Attributes:
        path: such as ``clean.accuracy``; its interval is read from ``<path>_low`` and ``<path>_high``.
        count: path of the number of pairs behind it; ``<path>_denominator`` if it is not given.
        median: size of the perturbation in the per-pair scores, ``l2``, ``rms`` or ``linf``, failures being infinite.
        mean: average over all records of the cell, in place of the value of one.
    """

    path: str | None = None
    count: str | None = None
    median: Literal["l2", "rms", "linf"] | None = None
    mean: bool = False

    @model_validator(mode="after")
    def _one_form(self) -> Measure:
        if (self.path is None) == (self.median is None):
            raise ValueError("a measure needs either path or median")
        return self


class Line(_Strict):
    """A row or a column.

    Attributes:
        label: as printed.
        where: what the records of the line have in common, see ``matching.matches``; a list means any of its mappings.
        measure: in place of the table's.
        unit: key of the table's units, in place of the first one.
        size: the size of the experiment that has the line; None for both.
    """

    label: str
    where: Where | list[Where] = {}
    measure: Measure | None = None
    unit: str | None = None
    size: Size | None = None


class PaperCell(_Strict):
    """A cell that is published, or that has no counterpart of ours.

    Attributes:
        row: key of its row.
        column: key of its column.
        published: the published value, in the unit of the cell.
        source: how the published value reached us.
        checked: the day on which somebody compared the value with its source, such as ``2026-11-30``.
        ours: null where frbench has no counterpart; left out elsewhere.
        reason: why there is none, a key of ``conf/paper/reasons.yaml``.
    """

    row: str
    column: str
    published: float | None = None
    source: str | None = None
    checked: str | None = None
    ours: Literal["measured"] | None = "measured"
    reason: str | None = None

    @model_validator(mode="after")
    def _explained(self) -> PaperCell:
        if self.published is not None and not (self.source and self.checked):
            raise ValueError(f"the published value of {self.row}, {self.column} needs source and checked")
        if (self.ours is None) != (self.reason is not None):
            raise ValueError(f"{self.row}, {self.column}: a cell has a reason if and only if it has ours: null")
        return self


class Paper(_Strict):
    """The paper. table: which of its tables or figures, or that no number of it is at hand."""

    cite: str
    url: str
    table: str


class PaperTable(_Strict):
    """A table of a paper.

    Attributes:
        title: one line.
        paper: where it was published.
        statement: what the paper says about it in words, empty if its numbers say all.
        units: by key; the first one is that of lines without ``unit``.
        measure: what is read from a record.
        where: what the records of all cells have in common.
        rows: by key, in order.
        columns: by key, in order.
        cells: published cells and cells without a counterpart. Every other pair of a row and a column is ours alone.
        small: what a record of the small size has and no other record has.
        comparable: key of a reason -> what a record needs, so that the reason does not keep it from being compared.
            Null if every record lacks it.
        reasons: keys of reasons why comparable numbers may differ all the same.
        experiment: option of ``frbench run experiment=`` that measures ours.
    """

    title: str
    paper: Paper
    statement: str = ""
    units: dict[str, Unit] = Field(min_length=1)
    measure: Measure
    where: Where = {}
    rows: dict[str, Line]
    columns: dict[str, Line]
    cells: list[PaperCell] = []
    small: Where
    comparable: dict[str, Where | None] = {}
    reasons: list[str] = []
    experiment: str

    @model_validator(mode="after")
    def _consistent(self) -> PaperTable:
        places = [(cell.row, cell.column) for cell in self.cells]
        for row, column in places:
            if row not in self.rows or column not in self.columns:
                raise ValueError(f"the cell {row}, {column} has no such row or column")
        if len(set(places)) < len(places):
            raise ValueError("two cells have the same row and column")
        lines = [*self.rows.values(), *self.columns.values()]
        unknown = {line.unit for line in lines if line.unit} - set(self.units)
        if unknown:
            raise ValueError(f"unknown unit {', '.join(sorted(unknown))}")
        return self

    def places(self) -> Iterator[Place]:
        """Every cell, row by row."""
        known = {(cell.row, cell.column): cell for cell in self.cells}
        for row in self.rows:
            for column in self.columns:
                yield Place(self, known.get((row, column), PaperCell(row=row, column=column)))

    def keys_of_reasons(self) -> set[str]:
        """Keys of all reasons that the table gives."""
        return {*self.comparable, *self.reasons, *(cell.reason for cell in self.cells if cell.reason)}


class Place:
    """A cell of a table with what its row and column say."""

    def __init__(self, table: PaperTable, cell: PaperCell) -> None:
        self.cell = cell
        self.row, self.column = table.rows[cell.row], table.columns[cell.column]
        self.where = (table.where, self.column.where, self.row.where)
        self.measure = self.row.measure or self.column.measure or table.measure
        named = self.column.unit or self.row.unit or next(iter(table.units))
        self.unit = table.units[named]
        self.size = self.row.size or self.column.size


class Reason(_Strict):
    """A reason. short: within a sentence. text: a sentence."""

    short: str
    text: str


def paper_table(values: Mapping[str, Any], name: str) -> PaperTable:
    """The table of the ``values`` of a YAML file.

    Raises:
        ConfigError: an entry is missing, unknown or wrong; ``name`` is that of the table.
    """
    return _valid(PaperTable, values, f"paper={name}")


def reasons_of(values: Mapping[str, Any]) -> dict[str, Reason]:
    """The reasons of ``conf/paper/reasons.yaml``, by key. Raises ConfigError: an entry is missing or unknown."""
    return {key: _valid(Reason, value, f"reason {key}") for key, value in values.items()}


def _valid(model: type[_Model], values: Mapping[str, Any], where: str) -> _Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{where}: {f'{place}: ' if place else ''}{first['msg']}") from error
