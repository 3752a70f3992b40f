"""A comparison of two runs as plain data for JSON. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from frbench.harness.reporting.views.comparison import Comparison, Part
from frbench.harness.storage.records import NOUNS, Record, label, measured, plain, reason

_RATE = ("asr", "asr_low", "asr_high", "asr_successes", "asr_denominator")


def comparison_data(found: Comparison) -> dict[str, Any]:
    """Everything that was found, with all flipped pairs, as strict JSON."""
    overlap = found.overlap
    data = {
        "compared": not found.obstacle,
        "obstacle": found.obstacle or None,
        "a": _run(found.a),
        "b": _run(found.b),
        "differences": [each._asdict() for each in found.differences],
        "overlap": None if overlap is None else asdict(overlap) | {"missing": overlap.missing},
        "parts": [_part(part) for part in found.parts],
    }
    converted: dict[str, Any] = plain(data)
    return converted


def _run(record: Record) -> dict[str, Any]:
    clean, attack = measured(record, "clean"), measured(record, "attack")
    return {
        **{key: record[key] for key in ("fingerprint", "kind", "status", "flags")},
        "reason": reason(record) or None,
        **{noun: label(record, noun) for noun in NOUNS if record["names"].get(noun)},
        "clean_accuracy": clean.get("accuracy"),
        **{key: attack.get(key) for key in _RATE},
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "name": part.name or None,
        **asdict(part.gap),
        "p": part.p,
        "method": part.method,
        "flipped": part.flipped.to_dict("records"),
    }
