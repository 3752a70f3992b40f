"""The table of a paper's cells for all formats: published, ours, difference and reading. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from frbench.harness.reporting.paper.ours import Ours
from frbench.harness.reporting.paper.paper_table import PaperTable, Place, Size
from frbench.harness.reporting.paper.readings import Reading, Verdict
from frbench.harness.reporting.tables.perturbation_sizes import number
from frbench.harness.reporting.tables.rendering import MISSING, Cell, Table

_READINGS = (
    "Ours: value [95 % interval] (number of pairs, photos or, of a mean, records). The interval of a mean goes from "
    "the mean of the low ends to the mean of the high ends. Difference: ours minus published. "
    "Within: the published value lies in our interval, and the protocol is the same; apart: it lies outside."
)
_SEVERAL = "several results fit this cell; the one of the most pairs is shown. Select another with where.fingerprint"


def comparison_table(name: str, table: PaperTable, readings: Sequence[Reading]) -> Table:
    """The readings as a table. name: of the YAML file."""
    rows = tuple(_row(reading) for reading in readings)
    header = ("row", "column", "published", "ours", "difference", "reading")
    return Table(f"paper-{name}", table.title, caption(table, readings), header, rows, 2)


def caption(table: PaperTable, readings: Sequence[Reading]) -> str:
    """What the table is of, its units, what the paper says in words, and the size of our experiment."""
    units = "; ".join(dict.fromkeys(unit.name for unit in table.units.values()))
    sizes = {reading.ours.size for reading in readings if reading.ours}
    small = f"Ours are of the small size ({table.experiment})." if Size.SMALL in sizes else ""
    parts = (f"{table.paper.cite}, {table.paper.table}.", f"Units: {units}.", table.statement, small, _READINGS)
    return " ".join(part for part in parts if part)


def _row(reading: Reading) -> tuple[Cell, ...]:
    place, ours = reading.place, reading.ours
    return (
        Cell(place.row.label),
        Cell(place.column.label),
        _published(place),
        Cell(MISSING) if ours is None or ours.value is None else _ours(ours, place.unit.digits),
        Cell(MISSING if reading.difference is None else signed(reading.difference, place.unit.digits)),
        Cell(reading.text, notes=reading.notes),
    )


def _published(place: Place) -> Cell:
    cell = place.cell
    if cell.published is None:
        return Cell(MISSING)
    return Cell(number(cell.published, place.unit.digits), notes=(f"Source: {cell.source}, checked {cell.checked}.",))


def _ours(ours: Ours, digits: int) -> Cell:
    ends = "" if ours.low is None or ours.high is None else f"[{number(ours.low, digits)}, {number(ours.high, digits)}]"
    count = "" if ours.count is None else f"({ours.count:,})"
    detail = " ".join(part for part in (ends, count) if part)
    return Cell(number(ours.value or 0.0, digits), detail, notes=(_SEVERAL,) if ours.several else ())


def signed(value: float, digits: int) -> str:
    """A difference with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−").replace("inf", "∞")


def verdicts(readings: Sequence[Reading]) -> str:
    """How many cells have each verdict, in one line."""
    counts = {verdict: sum(reading.verdict is verdict for reading in readings) for verdict in Verdict}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
