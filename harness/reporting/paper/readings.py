"""The published and our value of a cell side by side, and how to read the two. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from frbench.harness.core.errors import ConfigError
from frbench.harness.reporting.pair_outcomes import Scores
from frbench.harness.reporting.paper.matching import matches
from frbench.harness.reporting.paper.ours import Ours, ours_of
from frbench.harness.reporting.paper.paper_table import PaperTable, Place, Reason, Size
from frbench.harness.storage.records import Record


class Verdict(StrEnum):
    """How a cell is read."""

    WITHIN = "within"  # the published value lies in our interval, and the protocol is the same
    APART = "apart"  # it lies outside, and the protocol is the same
    NOT_COMPARABLE = "not comparable"  # with the reasons
    NOT_RUN = "not run"  # with the command
    NO_VALUE = "no value"  # with the reason: refused, crashed, or nothing could be measured
    OURS_ALONE = "ours alone"  # nothing is published


@dataclass(frozen=True)
class Reading:
    """A cell with its reading.

    Attributes:
        place: the cell.
        ours: our value; None if there is none.
        verdict: how to read the two.
        why: reasons or command behind the verdict, in words; empty if it says all.
        notes: sentences on known reasons of a difference.
    """

    place: Place
    ours: Ours | None
    verdict: Verdict
    why: str = ""
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The verdict with what is behind it."""
        return f"{self.verdict}: {self.why}" if self.why else str(self.verdict)

    @property
    def difference(self) -> float | None:
        """Ours minus published; None if one of them is missing."""
        published = self.place.cell.published
        return (
            None if published is None or self.ours is None or self.ours.value is None else self.ours.value - published
        )


def readings(
    table: PaperTable, records: Sequence[Record], scores: Scores, reasons: Mapping[str, Reason]
) -> list[Reading]:
    """Every cell of ``table`` with our value from ``records``, row by row.

    Args:
        scores: from a fingerprint to the per-pair scores, or None.
        reasons: of ``conf/paper/reasons.yaml``.

    Raises:
        ConfigError: the table has a reason that ``reasons`` lacks.
    """
    check_reasons(table, reasons)
    candidates = [record for record in records if matches(record, table.where)]
    of_row = {row: [r for r in candidates if matches(r, line.where)] for row, line in table.rows.items()}
    return [
        read(table, place, ours_of(table, place, of_row[place.cell.row], scores), reasons) for place in table.places()
    ]


def check_reasons(table: PaperTable, reasons: Mapping[str, Reason]) -> None:
    """Raises ConfigError: the table has a reason that ``reasons`` lacks."""
    unknown = sorted({*table.keys_of_reasons(), SMALL} - set(reasons))
    if unknown:
        raise ConfigError(f"{table.title}: unknown reason {unknown[0]}; reasons.yaml has {', '.join(reasons)}")


SMALL = "small_size"  # the reason of every result of the small size


def read(table: PaperTable, place: Place, ours: Ours | None, reasons: Mapping[str, Reason]) -> Reading:
    """How to read a cell with our value ``ours``."""
    cell = place.cell
    if cell.reason is not None:
        return Reading(
            place, None, Verdict.NOT_COMPARABLE, reasons[cell.reason].short, _sentences([cell.reason], reasons)
        )
    if ours is None:
        return Reading(place, None, Verdict.NOT_RUN, command(table, place.size or Size.SMALL))
    if ours.value is None:
        return Reading(place, ours, Verdict.NO_VALUE, ours.why)
    if cell.published is None:
        return Reading(place, ours, Verdict.OURS_ALONE)
    keys = ([SMALL] if ours.size is Size.SMALL else []) + list(ours.hindrances)
    if keys:
        short = ", ".join(reasons[key].short for key in keys)
        return Reading(place, ours, Verdict.NOT_COMPARABLE, short, _sentences(keys, reasons))
    if ours.low is None or ours.high is None:
        return Reading(place, ours, Verdict.NOT_COMPARABLE, "our value has no interval")
    within = ours.low <= cell.published <= ours.high
    notes = _sentences(table.reasons, reasons)
    return Reading(place, ours, Verdict.WITHIN if within else Verdict.APART, notes=notes)


def _sentences(keys: Iterable[str], reasons: Mapping[str, Reason]) -> tuple[str, ...]:
    return tuple(reasons[key].text for key in keys)


def command(table: PaperTable, size: Size) -> str:
    """The command that measures the cells of ``table`` at ``size``."""
    return f"frbench run experiment={table.experiment} size={size}"
