"""Tables of what the audit found: how many cells it looked at, and the figure behind every flag. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from frbench.harness.reporting.crosscheck import Findings, Shortfall
from frbench.harness.reporting.tables.layout import attacker, signed
from frbench.harness.reporting.tables.mixed_versions import with_mixed_versions
from frbench.harness.reporting.tables.rendering import CLEAN, DOUBTED, MISSING, Cell, Table
from frbench.harness.storage.records import NULL, Record, label, measured, rest

_BOARD = ("dataset", "recognizer", "goal")
_COUNTS = (
    "Attacked cells by what the audit says of them. 'clean': audited, and no flag of any kind casts doubt on it "
    f"({CLEAN} in the tables). 'flagged': a flag must be explained first ({DOUBTED}). 'not audited': neither."
)
_FLAGS = (
    "Every flag that casts doubt on a cell, with the figure behind it and, for the checks of the audit, the limit it "
    "went beyond. Comparisons of cells: this cell minus the one that knows less, in points [95 % interval of the "
    "paired difference]."
)


def audit_tables(records: Sequence[Record], findings: Findings) -> list[Table]:
    """How many cells are clean, and why the others are not."""
    attacked = [r for r in records if r["names"]["attack"] != NULL and measured(r, "attack")]
    if not any(measured(r, "attack").get("audit") or findings.doubts(r) for r in attacked):
        return []
    flagged = _flagged(attacked, findings)
    header = ("dataset", "recognizer", "goal", "attacker", "settings", "budget", "defense", "attack", "flag")
    caption = with_mixed_versions(_FLAGS, attacked)
    columns = (*header, "figure", "limit")
    details = Table("audit-flags", "Flags and their figures", caption, columns, flagged, len(header))
    return [_counts(attacked, findings), *([details] if flagged else [])]


def _counts(records: Sequence[Record], findings: Findings) -> Table:
    boards: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        boards.setdefault(_board(record), []).append(record)
    rows = []
    for board, here in boards.items():
        badges = [findings.badge(r) for r in here]
        levels = [(measured(r, "attack").get("audit") or {}).get("level") for r in here]
        audited = [levels.count(level) for level in ("cheap", "full")]
        numbers = [len(here), *audited, *(badges.count(badge) for badge in (CLEAN, DOUBTED, ""))]
        rows.append((*(Cell(part) for part in board), *(Cell(str(number)) for number in numbers)))
    header = (
        *_BOARD,
        "attacker",
        "settings",
        "cells",
        "cheap audit",
        "full audit",
        "clean",
        "flagged",
        "not audited",
    )
    return Table("audit", "Audited cells", with_mixed_versions(_COUNTS, records), header, tuple(rows), 5)


def _board(record: Record) -> tuple[str, ...]:
    return (*(label(record, noun) for noun in _BOARD), attacker(record), rest(record))


def _flagged(records: Sequence[Record], findings: Findings) -> tuple[tuple[Cell, ...], ...]:
    rows = []
    for record in records:
        named = (*_board(record), *(label(record, noun) for noun in ("budget", "defense", "attack")))
        for flag in findings.doubts(record):
            shortfall = findings.flags.get(record["fingerprint"], {}).get(flag)
            figure = _behind(record, flag) if shortfall is None else Cell(_against(shortfall))
            limit = _written(_limits(record).get(flag))
            rows.append((*(Cell(name) for name in named), Cell(flag.replace("_", " ")), figure, Cell(limit)))
    return tuple(rows)


def _behind(record: Record, flag: str) -> Cell:
    audit = measured(record, "attack").get("audit") or {}
    return Cell(_written((audit.get("figures") or {}).get(flag)))


def _limits(record: Record) -> Mapping[str, Any]:
    limits: Mapping[str, Any] = record["hyperparameters"]["audit"]
    return limits


def _against(found: Shortfall) -> str:
    if found.gap is None:
        return f"intervals part, against {found.other}"
    low, high = signed(found.gap.low), signed(found.gap.high)
    return f"{signed(found.gap.difference)} [{low}, {high}] against {found.other}"


def _written(figure: float | str | None) -> str:
    """A figure in three significant digits; records spell infinity as text."""
    if figure is None:
        return MISSING
    return "∞" if figure == "inf" else f"{float(figure):.3g}"
