"""The lines that ``frbench run`` prints: one for each finished cell, and a summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from frbench.harness.config.overrides import typed
from frbench.harness.core.flags import Flag
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


_DEFAULT = Path("results")  # the default of paths.results


def summary(records: Sequence[Record], failed: int, folders: Collection[Path]) -> str:
    """The last line of a run: counts by status, flags, where the records are, and the next command.

    failed: the number of cells without a record. folders: the results folders of the records.
    """
    if len(records) == 1 and not failed:
        (folder,) = folders
        parts = [f"record: {folder / 'runs' / records[0]['fingerprint']}.json"]
    else:
        ended = Counter(str(record["status"]) for record in records) + Counter({"failed": failed})
        parts = [f"{ended.total()} cells: {', '.join(f'{count} {status}' for status, count in ended.items())}"]
        raised = Counter(str(flag) for record in records for flag in record["flags"])
        parts.append(f"flags: {', '.join(f'{flag} in {raised[flag]}' for flag in Flag if raised[flag]) or 'none'}")
        parts += [f"records: {folder / 'runs'}" for folder in sorted(folders)]
    for folder in sorted(folders):
        parts.append("next: frbench report" + ("" if folder == _DEFAULT else f" {typed('paths.results', str(folder))}"))
    return "; ".join(parts)


def _success(found: Mapping[str, Any]) -> str:
    bounds = [f"{100 * found[key]:.1f}" if found[key] is not None else "-" for key in _ASR]
    return f"ASR {bounds[0]:>5} % [{bounds[1]}, {bounds[2]}] of {found['asr_denominator']}"


def _extremes(distances: Mapping[str, Mapping[str, Any]]) -> str:
    """Success at the largest and the smallest feature distance."""
    ends = sorted(distances, key=float, reverse=True)
    return ", ".join(f"at q = {each} {_success(distances[each])}" for each in dict.fromkeys((ends[0], ends[-1])))
