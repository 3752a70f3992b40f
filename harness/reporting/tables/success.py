"""Records to the first tables: clean accuracy, attack success, and what knowing the defense gains. Pure.

Rows of an attack table are budgets and defenses, columns attacks. A refused or crashed cell gives way to a finished one
of the same label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.tables.layout import (
    SEVERAL,
    facts,
    grid,
    groups,
    interval,
    percent,
    realised_far,
    setting,
    signed,
    slug,
    success_rate,
)
from frbench.harness.reporting.tables.mixed_versions import with_mixed_versions
from frbench.harness.reporting.tables.rendering import CLEAN, DOUBTED, MISSING, Cell, Table, file_name, joined
from frbench.harness.storage.records import NULL, Record, label, measured, natural, reason, rest

_LIMIT = "dataset.limit"  # restricts what is attacked, never what is measured clean
_READ = (
    "A cell is the success rate in % [95 % Wilson interval] (successes/attacked pairs). Attacked are the pairs decided "
    "correctly, behind the defense, before the attack; 'left out' counts the others. "
    f"{MISSING} stands for a cell that was not run. {CLEAN} stands where the audit found nothing, {DOUBTED} where a "
    "flag says what must be explained before the figure is believed, neither where no audit ran."
)
_REALISED = (
    "Realised FAR: share of impostor pairs accepted in the folds held out [95 % Wilson interval] (accepted/impostor "
    "pairs), and on the pairs of the other folds, on which thresholds are set: never above the target there."
)


@dataclass(frozen=True)
class Reading:
    """At which threshold success is read: ``of`` finds its numbers in the attack measurements.

    at_far: the threshold is set at a FAR, and its numbers tell the FAR that it realises.
    """

    slug: str
    words: str
    of: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    at_far: bool = False


BEST_ACCURACY = Reading("", "threshold of best accuracy on the other folds", lambda attack: attack)


def far_readings(records: Iterable[Record]) -> list[Reading]:
    """One reading for each false accept rate at which any record was judged, loosest first."""
    rates = {rate for record in records for rate in measured(record, "attack").get("at_far") or {}}
    return [
        Reading(f"-far{rate}", f"threshold at FAR {float(rate):g} on the other folds", _at_far(rate), True)
        for rate in sorted(rates, key=float, reverse=True)
    ]


def _at_far(rate: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    return lambda attack: (attack.get("at_far") or {}).get(rate) or {"reason": f"not judged at FAR {rate}"}


def attack_tables(records: Sequence[Record], findings: Findings, reading: Reading) -> list[Table]:
    """Defenses x attacks, a table for each dataset, recognizer, goal and threat model."""

    def cell(found: Sequence[Record]) -> Cell:
        best = [r for r in found if r["status"] == "done"] or found
        return joined([_attack_cell(r, findings, reading) for r in best], SEVERAL) if best else Cell(MISSING)

    accuracy = _accuracies(records)
    tables = []
    for group in groups([r for r in records if r["names"]["attack"] != NULL]):
        title = f"Success of {label(group[0], 'goal')}, {setting(group[0])}"
        policy = f"{reading.words[0].upper()}{reading.words[1:]}, calibrated behind the defense on clean pairs."
        caption = " ".join([_READ, policy, *([_REALISED] if reading.at_far else []), facts(group)])
        beside: dict[str, Callable[[Sequence[Record]], Cell]] = {
            "clean accuracy %": lambda rows: joined(
                [accuracy.get(_clean_key(r), Cell(MISSING)) for r in rows], SEVERAL
            ),
            "left out": lambda rows: _left_out(rows, reading),
        }
        if reading.at_far:
            beside["realised FAR %"] = lambda rows: _realised(rows, reading)
        header, rows = grid(group, beside, cell)
        results = len(header) - 2 - len(beside)
        tables.append(Table(slug("asr", group[0]) + reading.slug, title, caption, header, rows, 2, results))
    return tables


def gap_tables(records: Sequence[Record], findings: Findings) -> list[Table]:
    """Adaptive minus oblivious success in points, for the cells where both were run on the same pairs."""

    def cell(found: Sequence[Record]) -> Cell:
        gaps = [findings.gaps[r["fingerprint"]] for r in found if r["fingerprint"] in findings.gaps]
        texts = [
            Cell(
                f"{signed(g.difference)}",
                f"[{signed(g.low)}, {signed(g.high)}] ({g.both + g.only_a + g.only_b + g.neither})",
            )
            for g in gaps
        ]
        return joined(texts, SEVERAL) if texts else Cell(MISSING)

    caption = (
        "Adaptive minus oblivious success rate in points [95 % interval of the paired difference, Newcombe] "
        "(common attacked pairs). Far above 0, the defense protects only while nobody knows of it; below 0, the "
        "adaptive attack failed as an attack."
    )
    tables = []
    for group in groups([r for r in records if r["fingerprint"] in findings.gaps]):
        header, rows = grid(group, {}, cell)
        title = f"Gain of knowing the defense: {label(group[0], 'goal')}, {setting(group[0])}"
        tables.append(Table(slug("gain", group[0]), title, with_mixed_versions(caption, group), header, rows, 2))
    return tables


def clean_tables(records: Sequence[Record]) -> list[Table]:
    """Recognizers behind defenses, without attack: accuracy, TAR at each FAR, EER, AUC; a table for each dataset."""
    done = sorted((r for r in records if measured(r, "clean")), key=lambda r: [natural(p) for p in _clean_key(r)])
    rates = sorted({f for r in done for f in measured(r, "clean").get("tar_at_far") or {}}, key=float, reverse=True)
    tables = []
    for (dataset, protocol), found in groupby(done, key=lambda r: _clean_key(r)[:2]):
        group = list(found)
        lines: dict[tuple[Cell, ...], None] = {}
        for record in group:
            recognizer, defense, other = _clean_key(record)[2:]
            named = (Cell(recognizer), Cell(f"{defense} ({other})" if other else defense))
            lines[(*named, *_clean_cells(measured(record, "clean"), rates))] = None
        header = (
            "recognizer",
            "defense",
            "accuracy %",
            "std",
            *(name for f in rates for name in (f"TAR % at FAR {float(f):g}", f"realised FAR % at {float(f):g}")),
            "EER %",
            "AUC",
            "pairs",
        )
        caption = (
            f"Dataset {dataset}, protocol {protocol}; the last column counts the pairs. "
            "Accuracy at the threshold of best accuracy on the "
            "other folds: mean [95 % Wilson interval] and standard deviation over folds. TAR at thresholds set on the "
            "other folds: mean over folds [95 % Wilson interval of all genuine pairs]. " + _REALISED
        )
        caption = with_mixed_versions(caption, group)
        name = file_name(["clean", dataset, protocol])
        tables.append(Table(name, f"Clean accuracy on {dataset}", caption, header, _told_apart(lines), 2))
    return tables


def _told_apart(rows: Collection[tuple[Cell, ...]]) -> tuple[tuple[Cell, ...], ...]:
    """Rows of one name but different numbers are kept, with a note."""
    names = Counter((row[0], row[1]) for row in rows)
    noted = (replace(row[1], notes=(SEVERAL,)) if names[row[0], row[1]] > 1 else row[1] for row in rows)
    return tuple((row[0], defense, *row[2:]) for row, defense in zip(rows, noted, strict=True))


def _clean_cells(clean: Mapping[str, Any], rates: Sequence[str]) -> list[Cell]:
    cells = [_accuracy(clean), Cell(percent(clean.get("accuracy_std"), 2))]
    for rate in rates:
        found = (clean.get("tar_at_far") or {}).get(rate) or {}
        why = (found["reason"],) if found.get("reason") else ()
        cells += [Cell(percent(found.get("tar")), interval(found, "tar"), notes=why), realised_far(found)]
    area = clean.get("auc")
    return [
        *cells,
        Cell(percent(clean.get("eer"), 2)),
        Cell(MISSING if area is None else f"{area:.4f}"),
        Cell(str(clean.get("pairs", MISSING))),
    ]


def _attack_cell(record: Record, findings: Findings, reading: Reading) -> Cell:
    if record["status"] != "done":
        return Cell(record["status"], notes=(f"{record['status']}: {reason(record)}",))
    found = reading.of(measured(record, "attack"))
    notes = tuple(flag.replace("_", " ") for flag in findings.all_flags(record))
    if found.get("asr") is None:
        return Cell("n/a", notes=(found.get("reason") or "no pair was decided correctly before the attack", *notes))
    return replace(success_rate(found), notes=notes, badge=findings.badge(record))


def _left_out(rows: Sequence[Record], reading: Reading) -> Cell:
    texts = []
    for attack in (measured(r, "attack") for r in rows):
        if attack and (total := reading.of(attack).get("asr_denominator")) is not None:
            texts.append(Cell(f"{int(attack['eligible']) - int(total)}/{int(attack['eligible'])}"))
    return joined(texts, SEVERAL) if texts else Cell(MISSING)


def _realised(rows: Sequence[Record], reading: Reading) -> Cell:
    cells = [realised_far(reading.of(attack)) for r in rows if (attack := measured(r, "attack"))]
    return joined(cells, SEVERAL) if cells else Cell(MISSING)


def _clean_key(record: Record) -> tuple[str, ...]:
    """dataset, protocol, recognizer, defense, other settings: all that a clean measurement hangs on."""
    names = (label(record, noun, without=(_LIMIT,)) for noun in ("dataset", "protocol", "recognizer", "defense"))
    return (*names, rest(record))


def _accuracies(records: Iterable[Record]) -> dict[tuple[str, ...], Cell]:
    found: dict[tuple[str, ...], list[Cell]] = {}
    for record in records:
        if clean := measured(record, "clean"):
            found.setdefault(_clean_key(record), []).append(_accuracy(clean))
    return {key: joined(cells, SEVERAL) for key, cells in found.items()}


def _accuracy(clean: Mapping[str, Any]) -> Cell:
    return Cell(percent(clean.get("accuracy"), 2), interval(clean, "accuracy", 2))
