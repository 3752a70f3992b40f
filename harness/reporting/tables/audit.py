"""Tables of the audit: how many cells are audited, and the value behind every flag. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from frbench.harness.reporting.crosscheck import Findings, Shortfall
from frbench.harness.reporting.tables.layout import flag_words, signed, threat_model
from frbench.harness.reporting.tables.mixed_versions import with_mixed_versions
from frbench.harness.reporting.tables.rendering import CLEAN, DOUBTED, MISSING, Cell, Table
from frbench.harness.storage.records import NULL, Record, label, measured, rest

_SETTING = ("dataset", "recognizer", "goal")
_LEVELS = {"basic": "basic audit", "full": "full audit"}  # levels as in the records, and their columns
_COUNTS = (
    f"Attacked cells by result of the audit. 'clean': audited without a doubt ({CLEAN} in the tables). 'flagged': a "
    f"flag must be explained before the value is believed ({DOUBTED}). 'not audited': neither."
)
_FLAGS = (
    "Every flag that casts doubt on a cell, with the value behind it and, for checks of the audit, the limit that it "
    "exceeds. Comparisons between cells: ASR of this cell minus ASR of the cell whose attacker knows less, in "
    "percentage points [95 % interval of the paired difference]."
)


def audit_tables(records: Sequence[Record], findings: Findings) -> list[Table]:
    """How many cells are clean, and why the others are not."""
    attacked = [r for r in records if r["names"]["attack"] != NULL and measured(r, "attack")]
    if not any(measured(r, "attack").get("audit") or findings.doubts(r) for r in attacked):
        return []
    flagged = _flagged(attacked, findings)
    header = ("dataset", "recognizer", "goal", "attacker", "settings", "budget", "defense", "attack", "flag")
    caption = with_mixed_versions(_FLAGS, attacked)
    details = Table(
        "audit-flags", "Flags with their values", caption, (*header, "value", "limit"), flagged, len(header)
    )
    return [_counts(attacked, findings), *([details] if flagged else [])]


def _counts(records: Sequence[Record], findings: Findings) -> Table:
    settings: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        settings.setdefault(_setting(record), []).append(record)
    rows = []
    for setting, group in settings.items():
        badges = [findings.badge(r) for r in group]
        levels = [(measured(r, "attack").get("audit") or {}).get("level") for r in group]
        audited = [levels.count(level) for level in _LEVELS]
        counts = [len(group), *audited, *(badges.count(badge) for badge in (CLEAN, DOUBTED, ""))]
        rows.append((*(Cell(part) for part in setting), *(Cell(str(count)) for count in counts)))
    header = (*_SETTING, "attacker", "settings", "cells", *_LEVELS.values(), "clean", "flagged", "not audited")
    return Table("audit", "Audited cells", with_mixed_versions(_COUNTS, records), header, tuple(rows), 5)


def _setting(record: Record) -> tuple[str, ...]:
    return (*(label(record, noun) for noun in _SETTING), threat_model(record), rest(record))


def _flagged(records: Sequence[Record], findings: Findings) -> tuple[tuple[Cell, ...], ...]:
    rows = []
    for record in records:
        labels = (*_setting(record), *(label(record, noun) for noun in ("budget", "defense", "attack")))
        for flag in findings.doubts(record):
            shortfall = findings.flags.get(record["fingerprint"], {}).get(flag)
            value = _value(record, flag) if shortfall is None else Cell(_difference(shortfall))
            limit = _text(_limits(record).get(flag))
            rows.append((*(Cell(name) for name in labels), Cell(flag_words(flag)), value, Cell(limit)))
    return tuple(rows)


def _value(record: Record, flag: str) -> Cell:
    audit = measured(record, "attack").get("audit") or {}
    return Cell(_text((audit.get("figures") or {}).get(flag)))


def _limits(record: Record) -> Mapping[str, Any]:
    limits: Mapping[str, Any] = record["hyperparameters"]["audit"]
    return limits


def _difference(found: Shortfall) -> str:
    if found.gap is None:
        return f"disjoint intervals, compared with {found.other}"
    low, high = signed(found.gap.low), signed(found.gap.high)
    return f"{signed(found.gap.difference)} [{low}, {high}] compared with {found.other}"


def _text(value: float | str | None) -> str:
    """A value with three significant digits; records write infinity as text."""
    if value is None:
        return MISSING
    return "∞" if value == "inf" else f"{float(value):.3g}"
