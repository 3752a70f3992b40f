"""A finished cell in one line, for the command line and for Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from frbench.harness.storage.records import Kind, Record, reason

_ASR = ("asr", "asr_low", "asr_high")


def cell_line(record: Record, found: bool, differing: Sequence[str] = ()) -> str:
    """A finished cell in one line, with its flags. differing: the overrides that the sweep varies."""
    names, card = record["names"], record["card"]
    nouns = ("defense", "attack", "goal", "budget", "threat", *(["tracker"] if record["kind"] == Kind.CLOAKING else []))
    shown = [each for each in differing if each.split("=")[0] not in nouns]
    what = " ".join([*(f"{names[noun]:<13}" for noun in nouns), *shown])
    if record["status"] != "done":
        return f"{what} {record['status']}: {reason(record)}"
    clean, attack = record["measurements"]["clean"], record["measurements"]["attack"]
    line = f"{what} clean {100 * clean['accuracy']:6.2f} %"
    if attack and record["kind"] == Kind.FEATURE_DISTANCE:
        line += f"  {_extremes(attack['distances'])}"
    elif attack:
        line += f"  {_success(attack)}"
        if record["kind"] == Kind.CLOAKING and attack["normal_accuracy"] is not None:
            line += f"  others {100 * attack['normal_accuracy']:.1f} %"
    if record["flags"]:
        line += f"  flags: {', '.join(record['flags'])}"
    if found:
        return f"{line}  (found)"
    return f"{line}  ({card['seconds']:.1f} s, {card['forwards']} forwards, {card['backwards']} backwards)"


def _success(found: Mapping[str, Any]) -> str:
    bounds = [f"{100 * found[key]:.1f}" if found[key] is not None else "-" for key in _ASR]
    return f"ASR {bounds[0]:>5} % [{bounds[1]}, {bounds[2]}] of {found['asr_denominator']}"


def _extremes(distances: Mapping[str, Mapping[str, Any]]) -> str:
    """Success at the largest and the smallest feature distance."""
    ends = sorted(distances, key=float, reverse=True)
    return ", ".join(f"at q = {each} {_success(distances[each])}" for each in dict.fromkeys((ends[0], ends[-1])))
