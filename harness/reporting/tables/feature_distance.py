"""Tables of success against feature distance: a row for each distance, a column for each defended model. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.tables.layout import SEVERAL, attacker, facts, percent, success_rate
from frbench.harness.reporting.tables.perturbation_sizes import spelled
from frbench.harness.reporting.tables.rendering import MISSING, Cell, Table, file_name, joined
from frbench.harness.storage.records import NULL, Record, label, measured, natural, reason, rest

BOARD = ("dataset", "recognizer", "protocol", "goal", "threat", "surrogate", "budget", "attack")
_CAPTION = (
    "The attacker walks on one model alone until the unit vectors of image and reference are at most q apart, and "
    "keeps the first image for each q; every defense judges the same images, at the threshold of best accuracy on the "
    "other folds, calibrated behind the defense on clean pairs. 'reached': pairs that came so near, of all attacked "
    "pairs; a pair that did not counts as a failure. Sizes are medians over all attacked pairs, ∞ where half or more "
    "did not come so near; L2 on [0, 1], L∞ in gray levels of 255. Under each defense: success rate in % of the images "
    "as they are / rounded to 8 bits, then [95 % Wilson interval] (successes/attacked pairs) of the first; pairs that "
    "the defended model accepts before the attack are left out of its column."
)


def distance_tables(records: Sequence[Record], findings: Findings) -> list[Table]:
    """Everything about the attacked cells of ``protocol=feature_distance`` among ``records``, which are these alone."""
    return [_table(key, group, findings) for key, group in boards(records)]


def boards(records: Iterable[Record]) -> list[tuple[tuple[str, ...], list[Record]]]:
    """Attacked records by what one table, and one figure, shares; all in natural order."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        if record["names"]["attack"] != NULL:
            found.setdefault((*(label(record, noun) for noun in BOARD), rest(record)), []).append(record)
    return [(key, found[key]) for key in sorted(found, key=lambda key: [natural(part) for part in key])]


def title(record: Record) -> str:
    """Attack, recognizer, dataset, attacker and other settings in words."""
    where = f"{label(record, 'recognizer')} on {label(record, 'dataset')}"
    return ", ".join(p for p in (label(record, "attack"), where, f"{attacker(record)} attacker", rest(record)) if p)


def by_defense(group: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by defense in natural order; where one finished, only those that did."""
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
        walked = [of for record in group if (of := _at(record, distance))]
        beside = (_joined(walked, read) for read in (_reached, _median("l2", 2), _median("linf", 1)))
        cells = [joined([_cell(r, distance, findings) for r in found], SEVERAL) for found in defenses.values()]
        rows.append((Cell(distance), *beside, *cells))
    header = ("q", "reached %", "L2", "L∞", *defenses)
    name = f"Success by feature distance: {title(group[0])}"
    return Table(file_name(["distance", *key]), name, f"{_CAPTION} {facts(group)}", header, tuple(rows), 1)


def _distances(group: Sequence[Record]) -> list[str]:
    """Far to near, as measured; of cells that were not, as asked for."""
    found = {name for record in group for name in measured(record, "attack").get("distances") or {}}
    asked = {f"{float(value):g}" for record in group for value in record["hyperparameters"]["protocol"]["distances"]}
    return sorted(found or asked, key=float, reverse=True)


def _at(record: Record, distance: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (measured(record, "attack").get("distances") or {}).get(distance) or {}
    return found


def _cell(record: Record, distance: str, findings: Findings) -> Cell:
    if record["status"] != "done":
        return Cell(record["status"], notes=(f"{record['status']}: {reason(record)}",))
    found = _at(record, distance)
    notes = tuple(flag.replace("_", " ") for flag in findings.all_flags(record))
    if found.get("asr") is None:
        return Cell("n/a", notes=("no pair was decided correctly before the attack", *notes))
    rate = success_rate(found)
    value = f"{rate.value} / {percent(found['in_8_bits']['asr'])}"
    return replace(rate, value=value, notes=notes, badge=findings.badge(record))


def _joined(found: Sequence[Mapping[str, Any]], read: Callable[[Mapping[str, Any]], Cell]) -> Cell:
    return joined([read(each) for each in found], SEVERAL) if found else Cell(MISSING)


def _reached(found: Mapping[str, Any]) -> Cell:
    reached = found["reached"]
    return Cell(percent(reached["share"]), "({share_successes}/{share_denominator})".format(**reached))


def _median(name: str, digits: int) -> Callable[[Mapping[str, Any]], Cell]:
    return lambda found: Cell(spelled(float(found[name]["median"] or "nan"), digits))
