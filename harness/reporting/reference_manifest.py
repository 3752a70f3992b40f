"""The manifest of a study of reference results: what was asked, how it was measured, and which tables show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from frbench.harness.core.errors import ConfigError

Templates = str | list[str]
_Kind = TypeVar("_Kind", bound=BaseModel)
Pattern = str | int | float | bool | None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TableLayout(_Strict):
    """A table of a page: one line per cell (``columns``), or one line per ``rows`` and one column per ``pivot``.

    Attributes:
        title: heading.
        caption: below the table.
        where: pattern or list of patterns by column; ``*`` matches any present value, null a missing one.
        columns: template of each column, by its heading.
        rows: template of each leading column of a pivoted table, by its heading.
        pivot: template of the headings of the other columns.
        value: template of the entries.
        order: headings of the other columns that come first.
    """

    title: str
    caption: str = ""
    where: dict[str, Pattern | list[Pattern]] = {}
    columns: dict[str, Templates] = {}
    rows: dict[str, Templates] = {}
    pivot: Templates | None = None
    value: Templates | None = None
    order: list[str] = []

    @model_validator(mode="after")
    def _one_form(self) -> TableLayout:
        if bool(self.columns) == bool(self.rows and self.pivot and self.value):
            raise ValueError("a table needs either columns, or rows, pivot and value")
        return self


class Figure(_Strict):
    """A figure: its file in the folder ``figures`` of the study, and its caption."""

    file: str
    caption: str


class Transcribed(_Strict):
    """Why cells were carried over and not measured again, and the machine that measured them."""

    why: str
    machine: str = ""


class MeasuredFacts(_Strict):
    """How cells were measured; empty where none was.

    Attributes:
        commands: shell commands that measure the cells.
        commit: source of the measured cells.
        date: of their last run.
        hours: wall-clock time of all of them.
        machine: device and number of threads.
        versions: of the libraries.
        seeds: of the runs.
        digests: SHA-256 of the data sets, recognizers and fitted artifacts, by name.
    """

    commands: list[str] = []
    commit: str | None = None
    date: str | None = None
    hours: float | None = None
    machine: str | None = None
    versions: dict[str, str] = {}
    seeds: list[int] = []
    digests: dict[str, str] = {}


class Manifest(MeasuredFacts):
    """A study. The facts of ``MeasuredFacts`` are empty where all cells are transcribed.

    Attributes:
        title: heading of the page.
        question: what the study asks, in one sentence.
        text: what the numbers mean, in Markdown, written by hand.
        transcribed: about the cells that were carried over.
        labels: what to print in place of a value of the cells.
        tables: tables of the page, in order.
        figures: figures of the page, in order.
    """

    title: str
    question: str
    text: str
    transcribed: Transcribed | None = None
    labels: dict[str, str] = {}
    tables: list[TableLayout]
    figures: list[Figure] = []


class PaperRun(MeasuredFacts):
    """Our run of a paper's table.

    Attributes:
        text: what the numbers mean, in Markdown, written by hand.
        full_plan: what ``frbench plan`` prints for the full size.
        full_cost: what the plan leaves out, such as fits, in Markdown.
    """

    text: str
    full_plan: str
    full_cost: str = ""


def manifest_of(values: Mapping[str, Any], where: str) -> Manifest:
    """The manifest of the ``values`` of a YAML file.

    Raises:
        ConfigError: an entry is missing, unknown or of the wrong type; ``where`` names the file.
    """
    return _valid(Manifest, values, where)


def paper_run_of(values: Mapping[str, Any], where: str) -> PaperRun:
    """The manifest of a paper's table, as ``manifest_of``."""
    return _valid(PaperRun, values, where)


def _valid(model: type[_Kind], values: Mapping[str, Any], where: str) -> _Kind:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{where}: {place or 'manifest'}: {first['msg']}") from error
