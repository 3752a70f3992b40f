"""The first tables: clean accuracy, attack success rates, and the gain of adaptive over oblivious attacks. Pure.

Rows of an attack table are budgets and defenses, columns are attacks. A refused or crashed record is shown only if no
record with the same labels is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from frbench.harness.reporting.crosscheck import Findings
from frbench.harness.reporting.file_names import FileName
from frbench.harness.reporting.tables.layout import (
    NO_PAIRS,
    SEVERAL,
    clean_accuracy,
    flag_names,
    grid,
    groups,
    interval,
    percent,
    realised_far,
    setting,
    settings_caption,
    signed,
    slug,
    success_rate,
    unfinished,
)
from frbench.harness.reporting.tables.mixed_versions import with_mixed_versions
from frbench.harness.reporting.tables.rendering import CLEAN, DOUBTED, MISSING, Cell, Table, joined
from frbench.harness.reporting.words import words
from frbench.harness.storage.records import NULL, Record, label, measured, natural, rest

_LIMIT = "dataset.limit"  # restricts the attacked pairs, not the clean measurements
_ASR = (
    "Attack success rate (ASR) in % [95 % Wilson interval] (successes/attacked pairs). Attacked are the pairs that the "
    "defended model decides correctly without an attack; 'excluded' counts the other pairs. "
    f"{MISSING}: not run. {CLEAN}: audited without a doubt. {DOUBTED}: a flag must be explained before the value is "
    "believed. Neither sign: not audited."
)
_FAR = (
    "Realised FAR: accepted impostor pairs in the held-out folds [95 % Wilson interval] (accepted/impostor pairs), and "
    "in the folds that the threshold was calibrated on, where it is at most the target."
)
_CLEAN = (
    "Accuracy at the threshold of best accuracy on the other folds: mean [95 % Wilson interval] and standard deviation "
    f"over folds. TAR at thresholds set on the other folds: mean over folds [95 % Wilson interval over all genuine "
    f"pairs]. {_FAR}"
)
_GAIN = (
    "ASR of the adaptive attack minus ASR of the oblivious attack in percentage points [95 % Newcombe interval of the "
    "paired difference] (common attacked pairs). A large positive value: the defense protects only against attackers "
    "that ignore it. A negative value: the adaptive attack is too weak."
)


@dataclass(frozen=True)
class Reading:
    """The decision threshold at which a success rate is read.

    Attributes:
        slug: last part of the table's file name.
        words: the threshold in words.
        of: selects the measurements at this threshold from the attack measurements.
        at_far: whether the threshold is set at a FAR, so that the realised FAR is shown.
    """

    slug: str
    words: str
    of: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    at_far: bool = False


BEST_ACCURACY = Reading("", "threshold of best accuracy on the other folds", lambda attack: attack)


def far_readings(records: Iterable[Record]) -> list[Reading]:
    """One reading for each FAR in the records, highest first."""
    rates = {rate for record in records for rate in measured(record, "attack").get("at_far") or {}}
    return [
        Reading(f"far{rate}", f"threshold at FAR {float(rate):g} on the other folds", _at_far(rate), True)
        for rate in sorted(rates, key=float, reverse=True)
    ]


def _at_far(rate: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    return lambda attack: (attack.get("at_far") or {}).get(rate) or {"reason": f"not evaluated at FAR {rate}"}


def attack_tables(records: Sequence[Record], findings: Findings, reading: Reading) -> list[Table]:
    """Attack success rates, a table per dataset, recognizer, goal and threat model."""

    def cell(found: Sequence[Record]) -> Cell:
        best = [r for r in found if r["status"] == "done"] or found
        return joined([_attack_cell(r, findings, reading) for r in best], SEVERAL) if best else Cell(MISSING)

    accuracy = _accuracies(records)
    tables = []
    for group in groups([r for r in records if r["names"]["attack"] != NULL]):
        title = f"ASR of {label(group[0], 'goal')}: {setting(group[0])}"
        policy = f"{reading.words[0].upper()}{reading.words[1:]}, calibrated on clean pairs with the defense."
        caption = " ".join([_ASR, policy, *([_FAR] if reading.at_far else []), settings_caption(group)])
        extra: dict[str, Callable[[Sequence[Record]], Cell]] = {
            "clean accuracy %": lambda row: joined([accuracy.get(_clean_key(r), Cell(MISSING)) for r in row], SEVERAL),
            "excluded": lambda row: _excluded(row, reading),
        }
        if reading.at_far:
            extra["realised FAR %"] = lambda row: _realised(row, reading)
        header, rows = grid(group, extra, cell)
        results = len(header) - 2 - len(extra)
        tables.append(Table(slug("asr", group[0], reading.slug), title, caption, header, rows, 2, results))
    return tables


def gap_tables(records: Sequence[Record], findings: Findings) -> list[Table]:
    """ASR of adaptive minus oblivious attacks on the same pairs, a table per dataset, recognizer and goal."""

    def cell(found: Sequence[Record]) -> Cell:
        gaps = [findings.gaps[r["fingerprint"]] for r in found if r["fingerprint"] in findings.gaps]
        texts = [Cell(signed(g.difference), f"[{signed(g.low)}, {signed(g.high)}] ({g.total})") for g in gaps]
        return joined(texts, SEVERAL) if texts else Cell(MISSING)

    tables = []
    for group in groups([r for r in records if r["fingerprint"] in findings.gaps]):
        header, rows = grid(group, {}, cell)
        title = f"Adaptive minus oblivious ASR of {label(group[0], 'goal')}: {setting(group[0])}"
        caption = with_mixed_versions(_GAIN, group)
        tables.append(Table(slug("adaptive-gain", group[0]), title, caption, header, rows, 2))
    return tables


def clean_tables(records: Sequence[Record]) -> list[Table]:
    """Accuracy, TAR at each FAR, EER and AUC of recognizers with defenses, without an attack; a table per dataset."""
    done = sorted((r for r in records if measured(r, "clean")), key=lambda r: [natural(p) for p in _clean_key(r)])
    rates = sorted({f for r in done for f in measured(r, "clean").get("tar_at_far") or {}}, key=float, reverse=True)
    columns = [name for f in rates for name in (f"TAR % at FAR {float(f):g}", f"realised FAR % at {float(f):g}")]
    header = ("recognizer", "defense", "accuracy %", "std", *columns, "EER %", "AUC", "pairs")
    tables = []
    for (dataset, protocol), found in groupby(done, key=lambda r: _clean_key(r)[:2]):
        group = list(found)
        lines: dict[tuple[Cell, ...], None] = {}
        for record in group:
            recognizer, defense, other = _clean_key(record)[2:]
            named = (Cell(recognizer), Cell(f"{defense} ({other})" if other else defense))
            lines[(*named, *_clean_cells(measured(record, "clean"), rates))] = None
        caption = with_mixed_versions(f"Protocol: {protocol}. {_CLEAN}", group)
        name = FileName("clean", (dataset,), (protocol,))
        title = f"Clean accuracy on {words(dataset)}"
        tables.append(Table(name, title, caption, header, _with_notes(lines), 2))
    return tables


def _with_notes(rows: Collection[tuple[Cell, ...]]) -> tuple[tuple[Cell, ...], ...]:
    """Rows with the same labels but different values get a note."""
    names = Counter((row[0], row[1]) for row in rows)
    noted = (replace(row[1], notes=(SEVERAL,)) if names[row[0], row[1]] > 1 else row[1] for row in rows)
    return tuple((row[0], defense, *row[2:]) for row, defense in zip(rows, noted, strict=True))


def _clean_cells(clean: Mapping[str, Any], rates: Sequence[str]) -> list[Cell]:
    cells = [_accuracy(clean), Cell(percent(clean.get("accuracy_std"), 2))]
    for rate in rates:
        found = (clean.get("tar_at_far") or {}).get(rate) or {}
        notes = (found["reason"],) if found.get("reason") else ()
        cells += [Cell(percent(found.get("tar")), interval(found, "tar"), notes=notes), realised_far(found)]
    area = clean.get("auc")
    return [
        *cells,
        Cell(percent(clean.get("eer"), 2)),
        Cell(MISSING if area is None else f"{area:.4f}"),
        Cell(str(clean.get("pairs", MISSING))),
    ]


def _attack_cell(record: Record, findings: Findings, reading: Reading) -> Cell:
    if record["status"] != "done":
        return unfinished(record)
    found = reading.of(measured(record, "attack"))
    notes = flag_names(findings.all_flags(record))
    if found.get("asr") is None:
        return Cell("n/a", notes=(found.get("reason") or NO_PAIRS, *notes))
    return replace(success_rate(found), notes=notes, badge=findings.badge(record))


def _excluded(row: Sequence[Record], reading: Reading) -> Cell:
    cells = []
    for attack in (measured(r, "attack") for r in row):
        if attack and (total := reading.of(attack).get("asr_denominator")) is not None:
            cells.append(Cell(f"{int(attack['eligible']) - int(total)}/{int(attack['eligible'])}"))
    return joined(cells, SEVERAL) if cells else Cell(MISSING)


def _realised(row: Sequence[Record], reading: Reading) -> Cell:
    cells = [realised_far(reading.of(attack)) for r in row if (attack := measured(r, "attack"))]
    return joined(cells, SEVERAL) if cells else Cell(MISSING)


def _clean_key(record: Record) -> tuple[str, ...]:
    """Dataset, protocol, recognizer, defense and other settings: all that a clean measurement depends on."""
    names = (label(record, noun, without=(_LIMIT,)) for noun in ("dataset", "protocol", "recognizer", "defense"))
    return (*names, rest(record))


def _accuracies(records: Iterable[Record]) -> dict[tuple[str, ...], Cell]:
    found: dict[tuple[str, ...], list[Cell]] = {}
    for record in records:
        if clean := measured(record, "clean"):
            found.setdefault(_clean_key(record), []).append(clean_accuracy(clean) or Cell(MISSING))
    return {key: joined(cells, SEVERAL) for key, cells in found.items()}


def _accuracy(clean: Mapping[str, Any]) -> Cell:
    return Cell(percent(clean.get("accuracy"), 2), interval(clean, "accuracy", 2))
