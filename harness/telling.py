"""What the command line says of a cell that is finished."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frbench.harness.records import tracks

_ASR = ("asr", "asr_low", "asr_high")


def sentence(record: Mapping[str, Any], found: bool) -> str:
    """A finished cell in one line."""
    names, card = record["names"], record["card"]
    nouns = ("defense", "attack", "goal", "budget", "threat", *(["tracker"] if tracks(record) else []))
    what = " ".join(f"{names[noun]:<13}" for noun in nouns)
    if record["status"] != "done":
        return f"{what} {record['status']}: {record['reason'].strip().splitlines()[-1]}"
    clean, attack = record["measurements"]["clean"], record["measurements"]["attack"]
    line = f"{what} clean {100 * clean['accuracy']:6.2f} %"
    if attack and "distances" in attack:
        line += f"  {_at_its_ends(attack['distances'])}"
    elif attack:
        line += f"  {_success(attack)}"
        if tracks(record) and attack["normal_accuracy"] is not None:
            line += f"  others {100 * attack['normal_accuracy']:.1f} %"
    if found:
        return f"{line}  (found)"
    return f"{line}  ({card['seconds']:.1f} s, {card['forwards']} forwards, {card['backwards']} backwards)"


def _success(found: Mapping[str, Any]) -> str:
    bounds = [f"{100 * found[key]:.1f}" if found[key] is not None else "-" for key in _ASR]
    return f"ASR {bounds[0]:>5} % [{bounds[1]}, {bounds[2]}] of {found['asr_denominator']}"


def _at_its_ends(distances: Mapping[str, Mapping[str, Any]]) -> str:
    """Success at the farthest and the nearest of the feature distances."""
    ends = sorted(distances, key=float, reverse=True)
    return ", ".join(f"at q = {each} {_success(distances[each])}" for each in dict.fromkeys((ends[0], ends[-1])))
