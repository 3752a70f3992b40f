"""Our value of a cell of a paper's table, read from records and their per-pair scores. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from frbench.harness.metrics.confidence import median_interval
from frbench.harness.metrics.security_curves import median_size
from frbench.harness.reporting.pair_outcomes import Scores, attacked, sizes
from frbench.harness.reporting.paper.matching import matches
from frbench.harness.reporting.paper.paper_table import Measure, PaperTable, Place, Size, Where
from frbench.harness.storage.records import Record, reason


@dataclass(frozen=True)
class Ours:
    """What the records say about a cell.

    Attributes:
        value: in the unit of the cell; None if nothing could be read.
        low, high: ends of its 95 % interval; None if there is none. Of a mean: the means of the ends, wider than for
            independent records.
        count: pairs behind the value, or records behind a mean; None if it is not known.
        size: of the experiment.
        status: done, refused or crashed.
        why: why there is no value; empty if there is one.
        several: whether several records fit the cell, of which this is the one of the most pairs.
        hindrances: keys of the reasons that keep the value from being compared with a published one.
        fingerprints: of the records.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    count: int | None = None
    size: Size = Size.FULL
    status: str = "done"
    why: str = ""
    several: bool = False
    hindrances: tuple[str, ...] = ()
    fingerprints: tuple[str, ...] = ()


def ours_of(table: PaperTable, place: Place, records: Sequence[Record], scores: Scores) -> Ours | None:
    """Our value of ``place``; None if no record fits. Records of the full size come before those of the small one."""
    fitting = [record for record in records if all(matches(record, where) for where in place.where)]
    small = [record for record in fitting if matches(record, table.small)]
    chosen, size = (
        ([r for r in fitting if r not in small], Size.FULL) if len(small) < len(fitting) else (small, Size.SMALL)
    )
    if not chosen:
        return None
    done = [record for record in chosen if record["status"] == "done"]
    failed = [record for record in chosen if record["status"] != "done"]
    if not done or (failed and place.measure.mean):
        first, count = failed[0], f"{len(failed)} of {len(chosen)} records, " if done else ""
        why = f"{count}{reason(first)}"
        return Ours(None, size=size, status=first["status"], why=why, fingerprints=(first["fingerprint"],))
    found = sorted((_read(record, place, scores) for record in done), key=lambda one: -(one.count or 0))
    value = _mean(found) if place.measure.mean and len(found) > 1 else found[0]
    return Ours(
        *(value.value, value.low, value.high, value.count),
        size=size,
        why=value.why,
        several=len(found) > 1 and not place.measure.mean,
        hindrances=tuple(key for key, needed in table.comparable.items() if not _all_match(done, needed)),
        fingerprints=value.fingerprints,
    )


def _all_match(records: Sequence[Record], needed: Where | None) -> bool:
    return needed is not None and all(matches(record, needed) for record in records)


def _mean(found: Sequence[Ours]) -> Ours:
    """The mean over records; its interval goes from the mean of the low ends to that of the high ends.

    A record without a value leaves the mean without one: a mean of the others would be of another set of cells.
    """
    missing = [one for one in found if one.value is None]
    if missing:
        return replace(missing[0], why=f"{len(missing)} of {len(found)} records, {missing[0].why}")
    value, low, high = (_average([getattr(one, name) for one in found]) for name in ("value", "low", "high"))
    return Ours(value, low, high, len(found), fingerprints=tuple(f for one in found for f in one.fingerprints))


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _read(record: Record, place: Place, scores: Scores) -> Ours:
    """Value, interval and count of one record, in the unit of the cell."""
    measure, factor = place.measure, place.unit.factor
    read = _median(record, measure, scores) if measure.median else _measured(record, measure)
    value, low, high = (None if each is None or math.isnan(each) else factor * each for each in read[:3])
    return Ours(value, low, high, read[3], why=read[4] if value is None else "", fingerprints=(record["fingerprint"],))


_Read = tuple[float | None, float | None, float | None, int | None, str]


def _median(record: Record, measure: Measure, scores: Scores) -> _Read:
    frame, column = scores(record["fingerprint"]), measure.median or ""
    if frame is None or column not in frame or not len(attacked(frame)):
        return None, None, None, None, "the record has no sizes of attacked pairs"
    values = sizes(frame, column)
    return median_size(values), *median_interval(values), len(values), ""


def _measured(record: Record, measure: Measure) -> _Read:
    path, found = measure.path or "", record["measurements"] or {}
    value, low, high = (_number(at(found, f"{path}{ending}")) for ending in ("", "_low", "_high"))
    count = at(found, measure.count or f"{path}_denominator")
    why = at(found, f"{path.rpartition('.')[0]}.reason") or "the record has no such measurement"
    return value, low, high, None if count is None else int(count), str(why)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)  # also the text inf


def at(nested: Any, path: str) -> Any:
    """The entry of ``nested`` at a dotted path, whose keys may have dots themselves; None if there is none.

    >>> at({"at_far": {"0.001": {"asr": 0.5}}}, "at_far.0.001.asr")
    0.5
    """
    if not isinstance(nested, Mapping):
        return None
    if path in nested:
        return nested[path]
    inside = (at(value, path[len(key) + 1 :]) for key, value in nested.items() if path.startswith(f"{key}."))
    return next((each for each in inside if each is not None), None)
