"""Tables of attack success against feature distance: a row per distance, a column per defense. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.file_names import FileName
from frbench.harness.reporting.tables.layout import (
    NO_PAIRS,
    SEVERAL,
    flag_names,
    in_natural_order,
    percent,
    phrase,
    setting,
    settings_caption,
    success_rate,
    unfinished,
)
from frbench.harness.reporting.tables.perturbation_sizes import number
from frbench.harness.reporting.tables.rendering import MISSING, Cell, Table, joined
from frbench.harness.storage.records import NULL, Record, label, measured, natural, rest

_TABLE_OF = ("dataset", "recognizer", "protocol", "goal", "threat", "surrogate", "budget", "attack")
_CAPTION = (
    "The attack on a single model moves the unit embedding of each image toward that of its reference and keeps the "
    "first image at each distance q. All defenses judge the same images, each at its threshold of best accuracy on the "
    "other folds, calibrated on clean pairs with the defense. 'reached': attacked pairs that reached the distance; "
    "the others count as failures. L2 on [0, 1] and L∞ in gray levels of 255 are medians over all attacked pairs, ∞ if "
    "half or more did not reach it. Per defense: ASR in % of the images as float32 / rounded to 8 bits, then [95 % "
    "Wilson interval] (successes/attacked pairs) of the former. Pairs that the defended model accepts without an "
    "attack are excluded from its column."
)


def distance_tables(records: Sequence[Record], findings: Findings) -> list[Table]:
    """A table per setting and attack. ``records``: of ``protocol=feature_distance`` only."""
    return [_table(key, group, findings) for key, group in groups_by_attack(records)]


def groups_by_attack(records: Iterable[Record]) -> list[tuple[tuple[str, ...], list[Record]]]:
    """Attacked records grouped by table, which is also by figure, with the labels that they share; in natural order."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        if record["names"]["attack"] != NULL:
            found.setdefault((*(label(record, noun) for noun in _TABLE_OF), rest(record)), []).append(record)
    return list(in_natural_order(found).items())


def by_defense(group: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by defense in natural order; if any of a defense is done, only those."""
    found: dict[str, list[Record]] = {}
    for record in group:
        found.setdefault(label(record, "defense"), []).append(record)
    return {
        name: [r for r in found[name] if r["status"] == "done"] or found[name] for name in sorted(found, key=natural)
    }


def _table(key: tuple[str, ...], group: Sequence[Record], findings: Findings) -> Table:
    defenses = by_defense(group)
    rows = []
    for distance in _distances(group):
        measurements = [at for record in group if (at := _at(record, distance))]
        sizes = (_joined(measurements, column) for column in (_reached, _median("l2", 2), _median("linf", 1)))
        cells = [joined([_cell(r, distance, findings) for r in found], SEVERAL) for found in defenses.values()]
        rows.append((Cell(distance), *sizes, *cells))
    header = ("q", "reached %", "L2", "L∞", *defenses)
    name = f"ASR against feature distance: {phrase(group[0], 'attack')}, {setting(group[0])}"
    caption = f"{_CAPTION} {settings_caption(group)}"
    return Table(FileName("feature-distance", key), name, caption, header, tuple(rows), 1)


def _distances(group: Sequence[Record]) -> list[str]:
    """Distances in descending order, from the measurements or, if there are none, from the settings."""
    found = {name for record in group for name in measured(record, "attack").get("distances") or {}}
    planned = {f"{float(value):g}" for record in group for value in record["hyperparameters"]["protocol"]["distances"]}
    return sorted(found or planned, key=float, reverse=True)


def _at(record: Record, distance: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (measured(record, "attack").get("distances") or {}).get(distance) or {}
    return found


def _cell(record: Record, distance: str, findings: Findings) -> Cell:
    if record["status"] != "done":
        return unfinished(record)
    found = _at(record, distance)
    notes = flag_names(findings.all_flags(record))
    if found.get("asr") is None:
        return Cell("n/a", notes=(NO_PAIRS, *notes))
    rate = success_rate(found)
    value = f"{rate.value} / {percent(found['in_8_bits']['asr'])}"
    return replace(rate, value=value, notes=notes, badge=findings.badge(record))


def _joined(found: Sequence[Mapping[str, Any]], column: Callable[[Mapping[str, Any]], Cell]) -> Cell:
    return joined([column(each) for each in found], SEVERAL) if found else Cell(MISSING)


def _reached(found: Mapping[str, Any]) -> Cell:
    reached = found["reached"]
    return Cell(percent(reached["share"]), "({share_successes}/{share_denominator})".format(**reached))


def _median(name: str, digits: int) -> Callable[[Mapping[str, Any]], Cell]:
    return lambda found: Cell(number(float(found[name]["median"] or "nan"), digits))
