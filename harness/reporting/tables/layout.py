"""How tables of cells are laid out: what shares a table, its rows and columns, its title and its facts. Pure.

Everything that shares dataset, recognizer, goal and threat model shares a table. Several results under one label (the
weights, the data or the code changed between them) stand side by side with a note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from frbench.harness.reporting.tables.mixed_versions import with_mixed_versions
from frbench.harness.reporting.tables.rendering import MISSING, Cell, file_name, joined
from frbench.harness.storage.records import Record, label, measured, natural, rest

SEVERAL = "several results under this label: weights, data or code changed between them; choose by where.fingerprint"
_TABLE_OF = ("dataset", "recognizer", "protocol", "goal", "threat", "surrogate")


def groups(records: Iterable[Record]) -> list[list[Record]]:
    """Records of one table each; tables and records keep the natural order."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        found.setdefault(_table_key(record), []).append(record)
    return [found[key] for key in sorted(found, key=lambda key: [natural(part) for part in key])]


def grid(
    group: Sequence[Record],
    beside: Mapping[str, Callable[[Sequence[Record]], Cell]],
    cell: Callable[[Sequence[Record]], Cell],
) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...]]:
    """Header and rows with budgets and defenses down, ``beside`` and the attacks across."""
    attacks = sorted({label(r, "attack") for r in group}, key=natural)
    rows = []
    for (budget, defense), here in _by_label(group, ("budget", "defense")).items():
        cells = [cell([r for r in here if label(r, "attack") == attack]) for attack in attacks]
        rows.append((Cell(budget), Cell(defense), *(extra(here) for extra in beside.values()), *cells))
    return ("budget", "defense", *beside, *attacks), tuple(rows)


def listing(
    group: Sequence[Record], columns: Mapping[str, Callable[[Record], Cell]]
) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...]]:
    """Header and rows with budgets, defenses and attacks down, ``columns`` across."""
    nouns = ("budget", "defense", "attack")
    rows = [
        (*(Cell(name) for name in names), *(joined([cell(r) for r in here], SEVERAL) for cell in columns.values()))
        for names, here in _by_label(group, nouns).items()
    ]
    return (*nouns, *columns), tuple(rows)


def _by_label(group: Sequence[Record], nouns: Sequence[str]) -> dict[tuple[str, ...], list[Record]]:
    """Records by their labels, in natural order of these."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for record in group:
        found.setdefault(tuple(label(record, noun) for noun in nouns), []).append(record)
    return {key: found[key] for key in sorted(found, key=lambda key: [natural(name) for name in key])}


def slug(kind: str, record: Record) -> str:
    """The file name of a table of ``kind`` that holds ``record``."""
    return file_name([kind, *_table_key(record)])


def _table_key(record: Record) -> tuple[str, ...]:
    return (*(label(record, noun) for noun in _TABLE_OF), rest(record))


def setting(record: Record) -> str:
    """Recognizer, dataset, attacker and other settings in words."""
    parts = [f"{label(record, 'recognizer')} on {label(record, 'dataset')}", f"{attacker(record)} attacker"]
    return ", ".join(part for part in (*parts, rest(record)) if part)


def attacker(record: Record) -> str:
    """The threat model, with its surrogate where it has one."""
    surrogate = label(record, "surrogate")
    return label(record, "threat") + (f" from {surrogate}" if surrogate else "")


def facts(group: Sequence[Record]) -> str:
    """Protocol, seed, the attacker's views and versions that differ, as the records have them."""
    threat: Mapping[str, Any] = group[0]["hyperparameters"]["threat"]
    view = [f"{k}={v}" for k, v in sorted(threat.items()) if isinstance(v, str | int | float)]
    found = [f"Protocol {label(group[0], 'protocol')}.", f"Seed {group[0]['seed']}."]
    if view:
        found.append(f"Attacker's view: {label(group[0], 'threat')} ({', '.join(view)}).")
    return with_mixed_versions(" ".join([*found, *_looked_through(group)]), group)


def _looked_through(group: Sequence[Record]) -> list[str]:
    """The attacker's gradient modes, each with the defenses it was used on."""
    modes: dict[str, dict[str, None]] = {}
    for record in group:
        attack = measured(record, "attack")
        if attack.get("views"):
            draws = attack.get("eot_draws")
            mode = " + ".join(attack["views"]) + (f", mean of {draws} draws" if draws else "")
            modes.setdefault(mode, {})[label(record, "defense")] = None
    spelled = [f"{mode} ({', '.join(sorted(on, key=natural))})" for mode, on in sorted(modes.items())]
    return [f"Looked through: {'; '.join(spelled)}."] if spelled else []


def success_rate(found: Mapping[str, Any]) -> Cell:
    """A success rate as everywhere: value in % [interval] (successes/attacked pairs)."""
    total = int(found["asr_denominator"])
    successes = found.get("asr_successes", round(found["asr"] * total))
    return Cell(percent(found["asr"]), f"{interval(found, 'asr')} ({int(successes)}/{total})")


def realised_far(found: Mapping[str, Any]) -> Cell:
    """The FAR that thresholds realise: held out [interval] (accepted/impostor pairs), and on the pairs they are set on.

    ``found`` may be null, or of a record without these figures.
    """
    if found.get("far_set") is None:
        return Cell(MISSING)
    counts = "({false_accepts}/{impostors})".format(**found)
    where_set = f"{percent(found['far_set'], 3)} where set"
    return Cell(percent(found["far"], 3), f"{interval(found, 'far', 3)} {counts}, {where_set}")


def percent(share: float | None, digits: int = 1) -> str:
    """A share in percent, or the sign of a missing value."""
    return MISSING if share is None else f"{100 * share:.{digits}f}"


def interval(found: Mapping[str, Any], name: str, digits: int = 1) -> str:
    """The interval of the share ``name`` in percent, empty where unknown."""
    low, high = found.get(f"{name}_low"), found.get(f"{name}_high")
    return "" if low is None or high is None else f"[{percent(low, digits)}, {percent(high, digits)}]"


def signed(share: float) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "−")
