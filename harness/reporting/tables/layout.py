"""Layout shared by the tables: grouping of records, rows and columns, titles, captions and number formats. Pure.

Records of one dataset, recognizer, goal and threat model share a table. Several results with the same labels, recorded
before and after a change of weights, data or code, are shown side by side with a note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from frbench.harness.reporting.file_names import FileName
from frbench.harness.reporting.tables.mixed_versions import with_mixed_versions
from frbench.harness.reporting.tables.rendering import MISSING, Cell, joined
from frbench.harness.reporting.words import words
from frbench.harness.storage.records import Record, label, measured, natural, reason, rest

SEVERAL = (
    "several results have these labels, from before and after a change of weights, data or code; "
    "select one with where.fingerprint"
)
NO_PAIRS = "no pair was decided correctly before the attack"
_TABLE_OF = ("dataset", "recognizer", "protocol", "goal", "threat", "surrogate")

Header = tuple[str, ...]
Rows = tuple[tuple[Cell, ...], ...]


def groups(records: Iterable[Record]) -> list[list[Record]]:
    """Records grouped by table; tables and records are in natural order."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        found.setdefault(_table_key(record), []).append(record)
    return list(in_natural_order(found).values())


def in_natural_order(found: Mapping[tuple[str, ...], list[Record]]) -> dict[tuple[str, ...], list[Record]]:
    """``found`` in the natural order of its keys."""
    return {key: found[key] for key in sorted(found, key=lambda key: [natural(part) for part in key])}


def grid(
    group: Sequence[Record],
    extra_columns: Mapping[str, Callable[[Sequence[Record]], Cell]],
    cell: Callable[[Sequence[Record]], Cell],
) -> tuple[Header, Rows]:
    """Header and rows of a table with a row per budget and defense and a column per attack.

    Args:
        group: records of one table.
        extra_columns: columns before the attacks; each function gets the records of one row.
        cell: the cell of the records of one row and one attack.
    """
    attacks = sorted({label(r, "attack") for r in group}, key=natural)
    rows = []
    for (budget, defense), row in by_labels(group, ("budget", "defense")).items():
        found = by_labels(row, ("attack",))
        cells = [cell(found.get((attack,), [])) for attack in attacks]
        rows.append((Cell(budget), Cell(defense), *(extra(row) for extra in extra_columns.values()), *cells))
    return ("budget", "defense", *extra_columns, *attacks), tuple(rows)


def listing(group: Sequence[Record], columns: Mapping[str, Callable[[Record], Cell]]) -> tuple[Header, Rows]:
    """Header and rows of a table with a row per budget, defense and attack."""
    nouns = ("budget", "defense", "attack")
    rows = [
        (*(Cell(name) for name in names), *(joined([cell(r) for r in row], SEVERAL) for cell in columns.values()))
        for names, row in by_labels(group, nouns).items()
    ]
    return (*nouns, *columns), tuple(rows)


def by_labels(
    records: Iterable[Record], nouns: Sequence[str], name: Callable[[Record, str], str] = label
) -> dict[tuple[str, ...], list[Record]]:
    """Records by their labels for ``nouns``, in natural order of these."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        found.setdefault(tuple(name(record, noun) for noun in nouns), []).append(record)
    return in_natural_order(found)


def slug(kind: str, record: Record, *more: str) -> FileName:
    """The file name of the table of this ``kind`` that contains ``record``, with ``more`` parts at its end."""
    dataset, recognizer, protocol, *others = (label(record, noun) for noun in _TABLE_OF)
    return FileName(kind, (dataset, recognizer, *others, *more), (protocol, rest(record)))


def _table_key(record: Record) -> tuple[str, ...]:
    return (*(label(record, noun) for noun in _TABLE_OF), rest(record))


def phrase(record: Record, noun: str) -> str:
    """The label of ``noun`` for a title: ``LFW, 240 pairs``."""
    return words(label(record, noun))


def setting(record: Record) -> str:
    """Recognizer, dataset, threat model and other settings, for a title."""
    parts = [f"{phrase(record, 'recognizer')} on {phrase(record, 'dataset')}", f"{threat_model(record)} attacker"]
    return ", ".join(part for part in (*parts, words(rest(record))) if part)


def threat_model(record: Record) -> str:
    """The threat model, with its surrogate if it has one."""
    surrogate = label(record, "surrogate")
    return words(label(record, "threat")) + (f" from {words(surrogate)}" if surrogate else "")


def settings_caption(group: Sequence[Record]) -> str:
    """Protocol, seed, threat model, gradients of the attacker and library versions that differ, as sentences."""
    threat: Mapping[str, Any] = group[0]["hyperparameters"]["threat"]
    options = [f"{k}={v}" for k, v in sorted(threat.items()) if isinstance(v, str | int | float)]
    found = [f"Protocol: {label(group[0], 'protocol')}.", f"Seed: {group[0]['seed']}."]
    if options:
        found.append(f"Threat model: {label(group[0], 'threat')} ({', '.join(options)}).")
    return with_mixed_versions(" ".join([*found, *_gradients(group)]), group)


def _gradients(group: Sequence[Record]) -> list[str]:
    """The gradients that attackers used, each with the defenses it was used on."""
    modes: dict[str, dict[str, None]] = {}
    for record in group:
        attack = measured(record, "attack")
        if attack.get("views"):
            draws = attack.get("eot_draws")
            mode = " + ".join(attack["views"]) + (f", EOT over {draws} draws" if draws else "")
            modes.setdefault(mode, {})[label(record, "defense")] = None
    spelled = [f"{mode} ({', '.join(sorted(on, key=natural))})" for mode, on in sorted(modes.items())]
    return [f"Attacker's gradient: {'; '.join(spelled)}."] if spelled else []


def unfinished(record: Record) -> Cell:
    """The cell of a refused or crashed record: its status, with the reason as a note."""
    return Cell(record["status"], notes=(f"{record['status']}: {reason(record)}",))


def flag_words(flag: str) -> str:
    """A flag as words."""
    return flag.replace("_", " ")


def flag_names(flags: Iterable[str]) -> tuple[str, ...]:
    """Flags as words, for notes."""
    return tuple(map(flag_words, flags))


def clean_accuracy(found: Mapping[str, Any]) -> Cell | None:
    """Accuracy without an attack in %: value [interval] (pairs); None if it is unknown."""
    if found.get("accuracy") is None:
        return None
    pairs = f"({found['pairs']})" if found.get("pairs") is not None else ""
    return Cell(percent(found["accuracy"], 2), " ".join(filter(None, (interval(found, "accuracy", 2), pairs))))


def success_rate(found: Mapping[str, Any]) -> Cell:
    """An attack success rate in %: value [interval] (successes/attacked pairs)."""
    total = int(found["asr_denominator"])
    successes = found.get("asr_successes", round(found["asr"] * total))
    return Cell(percent(found["asr"]), f"{interval(found, 'asr')} ({int(successes)}/{total})")


def realised_far(found: Mapping[str, Any]) -> Cell:
    """The realised FAR in %: held-out value [interval] (counts), and the value on the calibration folds.

    ``found`` may be null, or of a record without these measurements.
    """
    if found.get("far_set") is None:
        return Cell(MISSING)
    counts = "({false_accepts}/{impostors})".format(**found)
    calibration = f"{percent(found['far_set'], 3)} on the calibration folds"
    return Cell(percent(found["far"], 3), f"{interval(found, 'far', 3)} {counts}, {calibration}")


@lru_cache(50_000)
def percent(share: float | None, digits: int = 1) -> str:
    """A proportion in percent, or the sign of a missing value."""
    return MISSING if share is None else f"{100 * share:.{digits}f}"


def interval(found: Mapping[str, Any], name: str, digits: int = 1) -> str:
    """The confidence interval of the proportion ``name`` in percent, empty if unknown."""
    low, high = found.get(f"{name}_low"), found.get(f"{name}_high")
    return "" if low is None or high is None else f"[{percent(low, digits)}, {percent(high, digits)}]"


def signed(share: float) -> str:
    """A difference of proportions in percentage points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "−")
