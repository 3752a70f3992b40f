"""Records to tables: clean accuracy, attack success, and what knowing the defense gains. Pure.

One attack table holds everything that shares dataset, recognizer, goal and threat model: rows are budgets and
defenses, columns attacks. Several results under one label (the weights, the data or the code changed between
them) stand side by side with a note; a refused or crashed cell gives way to a finished one of the same label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from frbench.harness.crosscheck import Findings
from frbench.harness.records import NULL, Record, label, measured, natural, reason, rest
from frbench.harness.tables import MISSING, Cell, Table, file_name, joined

_TABLE_OF = ("dataset", "recognizer", "protocol", "goal", "threat", "surrogate")
_LIMIT = "dataset.limit"  # restricts what is attacked, never what is measured clean
_SEVERAL = "several results under this label: weights, data or code changed between them; choose by where.fingerprint"
_READ = (
    "A cell is the success rate in % [95 % Wilson interval] (successes/attacked pairs). Attacked are the pairs decided "
    "correctly, behind the defense, before the attack; 'left out' counts the others. "
    f"{MISSING} stands for a cell that was not run."
)


@dataclass(frozen=True)
class Reading:
    """At which threshold success is read: ``of`` finds its numbers in the attack measurements."""

    slug: str
    words: str
    of: Callable[[Mapping[str, Any]], Mapping[str, Any]]


BEST_ACCURACY = Reading("", "threshold of best accuracy on the other folds", lambda attack: attack)


def far_readings(records: Iterable[Record]) -> list[Reading]:
    """One reading for each false accept rate at which any record was judged, loosest first."""
    rates = {rate for record in records for rate in measured(record, "attack").get("at_far") or {}}
    return [
        Reading(f"-far{rate}", f"threshold at FAR {float(rate):g} on the other folds", _at_far(rate))
        for rate in sorted(rates, key=float, reverse=True)
    ]


def _at_far(rate: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    return lambda attack: (attack.get("at_far") or {}).get(rate) or {"reason": f"not judged at FAR {rate}"}


def attack_tables(records: Sequence[Record], findings: Findings, reading: Reading) -> list[Table]:
    """Defenses x attacks, a table for each dataset, recognizer, goal and threat model."""

    def cell(found: Sequence[Record]) -> Cell:
        best = [r for r in found if r["status"] == "done"] or found
        return joined([_attack_cell(r, findings, reading) for r in best], _SEVERAL) if best else Cell(MISSING)

    accuracy = _accuracies(records)
    tables = []
    for group in _groups([r for r in records if r["names"]["attack"] != NULL]):
        title = f"Success of {label(group[0], 'goal')}, {_where(group[0])}"
        policy = f"{reading.words[0].upper()}{reading.words[1:]}, calibrated behind the defense on clean pairs."
        caption = f"{_READ} {policy} {_facts(group)}"
        beside = {
            "clean accuracy %": lambda rows: joined(
                [accuracy.get(_clean_key(r), Cell(MISSING)) for r in rows], _SEVERAL
            ),
            "left out": lambda rows: _left_out(rows, reading),
        }
        header, rows = _grid(group, beside, cell)
        tables.append(Table(_slug("asr", group[0]) + reading.slug, title, caption, header, rows, 2))
    return tables


def gap_tables(records: Sequence[Record], findings: Findings) -> list[Table]:
    """Adaptive minus oblivious success in points, for the cells where both were run on the same pairs."""

    def cell(found: Sequence[Record]) -> Cell:
        gaps = [findings.gaps[r["fingerprint"]] for r in found if r["fingerprint"] in findings.gaps]
        texts = [
            Cell(
                f"{_signed(g.difference)}",
                f"[{_signed(g.low)}, {_signed(g.high)}] ({g.both + g.only_a + g.only_b + g.neither})",
            )
            for g in gaps
        ]
        return joined(texts, _SEVERAL) if texts else Cell(MISSING)

    caption = (
        "Adaptive minus oblivious success rate in points [95 % interval of the paired difference, Newcombe] "
        "(common attacked pairs). Far above 0, the defense protects only while nobody knows of it; below 0, the "
        "adaptive attack failed as an attack."
    )
    tables = []
    for group in _groups([r for r in records if r["fingerprint"] in findings.gaps]):
        header, rows = _grid(group, {}, cell)
        title = f"Gain of knowing the defense: {label(group[0], 'goal')}, {_where(group[0])}"
        tables.append(Table(_slug("gain", group[0]), title, caption, header, rows, 2))
    return tables


def clean_tables(records: Sequence[Record]) -> list[Table]:
    """Recognizers behind defenses, without attack: accuracy, TAR at each FAR, EER, AUC; a table for each dataset."""
    done = sorted((r for r in records if measured(r, "clean")), key=lambda r: [natural(p) for p in _clean_key(r)])
    rates = sorted({f for r in done for f in measured(r, "clean").get("tar_at_far") or {}}, key=float, reverse=True)
    tables = []
    for (dataset, protocol), group in groupby(done, key=lambda r: _clean_key(r)[:2]):
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
            *(f"TAR % at FAR {float(f):g}" for f in rates),
            "EER %",
            "AUC",
            "pairs",
        )
        caption = (
            f"Dataset {dataset}, protocol {protocol}, all pairs. Accuracy at the threshold of best accuracy on the "
            "other folds: mean [95 % Wilson interval] and standard deviation over folds. TAR at thresholds set on the "
            "other folds."
        )
        slug = file_name(["clean", dataset, protocol])
        tables.append(Table(slug, f"Clean accuracy on {dataset}", caption, header, _told_apart(lines), 2))
    return tables


def _told_apart(rows: Collection[tuple[Cell, ...]]) -> tuple[tuple[Cell, ...], ...]:
    """Rows of one name but different numbers are kept, with a note."""
    names = Counter((row[0], row[1]) for row in rows)
    noted = (replace(row[1], notes=(_SEVERAL,)) if names[row[0], row[1]] > 1 else row[1] for row in rows)
    return tuple((row[0], defense, *row[2:]) for row, defense in zip(rows, noted, strict=True))


def _clean_cells(clean: Mapping[str, Any], rates: Sequence[str]) -> list[Cell]:
    cells = [_accuracy(clean), Cell(_percent(clean.get("accuracy_std"), 2))]
    for rate in rates:
        found = (clean.get("tar_at_far") or {}).get(rate) or {}
        why = (found["reason"],) if found.get("reason") else ()
        cells.append(Cell(_percent(found.get("tar")), notes=why))
    area = clean.get("auc")
    return [
        *cells,
        Cell(_percent(clean.get("eer"), 2)),
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
    total = int(found["asr_denominator"])
    successes = found.get("asr_successes", round(found["asr"] * total))
    return Cell(_percent(found["asr"]), f"{_interval(found, 'asr')} ({int(successes)}/{total})", notes)


def _left_out(rows: Sequence[Record], reading: Reading) -> Cell:
    texts = []
    for attack in (measured(r, "attack") for r in rows):
        if attack and (total := reading.of(attack).get("asr_denominator")) is not None:
            texts.append(Cell(f"{int(attack['eligible']) - int(total)}/{int(attack['eligible'])}"))
    return joined(texts, _SEVERAL) if texts else Cell(MISSING)


def _grid(
    group: Sequence[Record],
    beside: Mapping[str, Callable[[Sequence[Record]], Cell]],
    cell: Callable[[Sequence[Record]], Cell],
) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...]]:
    attacks = sorted({label(r, "attack") for r in group}, key=natural)
    rows = []
    for budget, defense in sorted({_row(r) for r in group}, key=lambda row: [natural(name) for name in row]):
        here = [r for r in group if _row(r) == (budget, defense)]
        cells = [cell([r for r in here if label(r, "attack") == attack]) for attack in attacks]
        rows.append((Cell(budget), Cell(defense), *(extra(here) for extra in beside.values()), *cells))
    return ("budget", "defense", *beside, *attacks), tuple(rows)


def _row(record: Record) -> tuple[str, str]:
    return label(record, "budget"), label(record, "defense")


def _groups(records: Iterable[Record]) -> list[list[Record]]:
    """Records of one table each; tables and records keep the natural order."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(_table_key(record), []).append(record)
    return [groups[key] for key in sorted(groups, key=lambda key: [natural(part) for part in key])]


def _table_key(record: Record) -> tuple[str, ...]:
    return (*(label(record, noun) for noun in _TABLE_OF), rest(record))


def _clean_key(record: Record) -> tuple[str, ...]:
    """dataset, protocol, recognizer, defense, other settings: all that a clean measurement hangs on."""
    names = (label(record, noun, without=(_LIMIT,)) for noun in ("dataset", "protocol", "recognizer", "defense"))
    return (*names, rest(record))


def _accuracies(records: Iterable[Record]) -> dict[tuple[str, ...], Cell]:
    found: dict[tuple[str, ...], list[Cell]] = {}
    for record in records:
        if clean := measured(record, "clean"):
            found.setdefault(_clean_key(record), []).append(_accuracy(clean))
    return {key: joined(cells, _SEVERAL) for key, cells in found.items()}


def _accuracy(clean: Mapping[str, Any]) -> Cell:
    return Cell(_percent(clean.get("accuracy"), 2), _interval(clean, "accuracy", 2))


def _where(record: Record) -> str:
    surrogate = label(record, "surrogate")
    threat = label(record, "threat") + (f" from {surrogate}" if surrogate else "")
    parts = [f"{label(record, 'recognizer')} on {label(record, 'dataset')}", f"{threat} attacker", rest(record)]
    return ", ".join(part for part in parts if part)


def _facts(group: Sequence[Record]) -> str:
    """Protocol, seed and the attacker's view, as the resolved configuration has them."""
    config: Mapping[str, Any] = next((c for r in group if (c := (r["card"] or {}).get("config"))), {})
    view = [
        f"{k}={v}"
        for k, v in sorted((config.get("threat") or {}).items())
        if isinstance(v, str | int | float) and k != "_target_"
    ]
    facts = [f"Protocol {label(group[0], 'protocol')}."]
    if "seed" in config:
        facts.append(f"Seed {config['seed']}.")
    if view:
        facts.append(f"Attacker's view: {label(group[0], 'threat')} ({', '.join(view)}).")
    return " ".join(facts)


def _slug(kind: str, record: Record) -> str:
    return file_name([kind, *_table_key(record)])


def _percent(share: float | None, digits: int = 1) -> str:
    return MISSING if share is None else f"{100 * share:.{digits}f}"


def _interval(found: Mapping[str, Any], name: str, digits: int = 1) -> str:
    low, high = found.get(f"{name}_low"), found.get(f"{name}_high")
    return "" if low is None or high is None else f"[{_percent(low, digits)}, {_percent(high, digits)}]"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")
