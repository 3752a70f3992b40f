"""Labels, sorting, filters and flat forms of run records. Nothing is read from files.

A record is the JSON of one cell: ``fingerprint``, ``kind`` (see ``Kind``), ``status`` (done, refused or crashed),
``reason``, ``names`` (the option of each noun), ``settings`` (values that differ from the options' own files),
``seed``, ``hyperparameters`` (of each noun), ``measurements`` (``clean`` and ``attack``), ``flags``, and ``card``
(facts of the run, such as versions and times).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from sys import intern
from typing import Any

from frbench.harness.core.errors import ConfigError
from frbench.harness.core.ratios import as_number

Record = Mapping[str, Any]


class LabelledRecord(dict[str, Any]):
    """An immutable record, whose labels are computed once."""

    __slots__ = ("labels",)

    def __init__(self, record: Record) -> None:
        super().__init__(record)
        self.labels: dict[str | tuple[str, ...], str] = {}


class Kind(StrEnum):
    """The kind of a record, written by its protocol."""

    VERIFICATION = "verification"  # one row of scores per attacked pair
    FEATURE_DISTANCE = "feature_distance"  # one row of scores per attacked pair and distance
    CLOAKING = "cloaking"  # one row of scores per test photo of a user who cloaks


NOUNS = ("dataset", "recognizer", "protocol", "tracker", "goal", "threat", "surrogate", "budget", "defense", "attack")
NULL = "none"  # the option of a group that does nothing; sorted first
LONGEST = 2000  # characters of a label or a reason; records of others may have texts of megabytes
_NUMBER = re.compile(r"(\d+(?:[.p]\d+)?)")


@lru_cache(50_000)
def natural(text: str) -> tuple[Any, ...]:
    """Sort key: the null option first, then by words, with numbers by value (linf_5p1 between 4 and 8)."""
    words = _NUMBER.split(text)
    parts = [(0, float(w.replace("p", ".")), "") if i % 2 else (1, 0.0, w) for i, w in enumerate(words) if w]
    return (text.split("(")[0] != NULL, tuple(parts))


def label(record: Record, noun: str, without: tuple[str, ...] = ()) -> str:
    """The option with its changed settings, such as ``pgd(steps=40)``; empty where the record has no such noun."""
    if not isinstance(record, LabelledRecord):
        return _label(record, noun, without)
    key = (noun, *without) if without else noun
    found = record.labels.get(key)
    if found is None:
        found = record.labels[key] = intern(_label(record, noun, without))
    return found


def _label(record: Record, noun: str, without: tuple[str, ...]) -> str:
    name = record["names"].get(noun) or ""
    own = {k: v for k, v in record["settings"].items() if k.startswith(f"{noun}.") and k not in without}
    return _cut(f"{name}({_written(own, len(noun) + 1)})" if own else name)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def of_kind(records: Iterable[Record], *kinds: Kind) -> list[Record]:
    """The records of these kinds, in their order."""
    return [record for record in records if record["kind"] in kinds]


def rest(record: Record) -> str:
    """Settings that belong to no noun, such as ``seed=1``."""
    if not isinstance(record, LabelledRecord):
        return _rest(record)
    found = record.labels.get("")
    if found is None:
        found = record.labels[""] = intern(_rest(record))
    return found


def _rest(record: Record) -> str:
    other = {k: v for k, v in record["settings"].items() if k.split(".")[0] not in NOUNS or "." not in k}
    return _cut(_written(other, 0))


def _written(settings: Mapping[str, Any], skip: int) -> str:
    return ", ".join(f"{k[skip:]}={settings[k]}" for k in sorted(settings))


def order(record: Record) -> tuple[Any, ...]:
    """Sort key of a record: its labels in natural order, then its fingerprint."""
    labels = (natural(label(record, noun)) for noun in NOUNS)
    return (*labels, natural(rest(record)), record["fingerprint"])


def select(records: Iterable[Record], where: Mapping[str, Any] | None) -> list[Record]:
    """The records that match every entry of ``where``, in natural order.

    Keys: a noun (its name), ``status``, ``flag``, ``fingerprint`` (the beginning is enough), or ``settings``, a mapping
    from a setting such as ``attack.steps`` to its value. A list means any of its values; None means all.
    """
    chosen = sorted(records, key=order)
    for key, wanted in _flat(where or {}).items():
        several = isinstance(wanted, Sequence) and not isinstance(wanted, str)
        values = [str(as_number(each)) for each in (wanted if several else [wanted])]
        kept = [r for r in chosen if any(_matches(r, key, value) for value in values)]
        if chosen and not kept:
            found = sorted({v for r in chosen for v in _values(r, key)}, key=natural)
            raise ConfigError(
                f"where.{key}={','.join(values)} matches no record; values found: {', '.join(found) or 'none'}"
            )
        chosen = kept
    return chosen


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif value is not None:
            flat[f"{prefix}{key}"] = value
    return flat


def _values(record: Record, key: str) -> list[str]:
    if key in NOUNS:
        return [record["names"].get(key) or ""]
    if key in ("status", "fingerprint"):
        return [record[key]]
    if key == "flag":
        return list(record["flags"])
    if key.startswith("settings."):
        return [str(v) for k, v in record["settings"].items() if f"settings.{k}" == key]
    known = ", ".join((*NOUNS, "status", "fingerprint", "flag", "settings"))
    raise ConfigError(f"unknown filter where.{key}; take one of {known}")


def _matches(record: Record, key: str, value: str) -> bool:
    if key == "fingerprint":
        return bool(record["fingerprint"].startswith(value))
    return value in _values(record, key)


def reason(record: Record) -> str:
    """Why a cell was refused or crashed, in one line, the last of a traceback."""
    return _cut(last_line(record["reason"]))


def last_line(text: str | None) -> str:
    """The last line of ``text`` that is not empty, such as the message of a traceback."""
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def measured(record: Record, part: str) -> Mapping[str, Any]:
    """The ``clean`` or ``attack`` measurements; empty where there are none."""
    return (record["measurements"] or {}).get(part) or {}


def plain(value: Any) -> Any:
    """``value`` as strict JSON: NaN becomes null, infinity the string ``inf``."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "item"):  # a NumPy scalar
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def json_line(record: Record, flags: Sequence[str]) -> str:
    """One record on one line: flat keys first, then ``settings`` and all ``measurements``."""
    clean, attack, card = measured(record, "clean"), measured(record, "attack"), record["card"] or {}
    flat = {noun: record["names"].get(noun) for noun in NOUNS}
    flat |= {key: record[key] for key in ("status", "reason", "fingerprint")}
    flat |= {"clean_accuracy": clean.get("accuracy"), "threshold": clean.get("threshold_mean")}
    flat |= {key: attack.get(key) for key in ("asr", "asr_low", "asr_high", "asr_denominator")}
    flat |= {key: card.get(key) for key in ("seconds", "forwards", "backwards", "attack_generated")}
    flat |= {"flags": list(flags), "settings": record["settings"], "measurements": record["measurements"]}
    try:
        return json.dumps(flat, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):  # not from a file: NumPy scalars, NaN
        return json.dumps(plain(flat), ensure_ascii=False, allow_nan=False)


def tidy_row(record: Record, flags: Sequence[str]) -> dict[str, Any]:
    """One row of the tidy table: labels, status, and every measurement under a flat name, without the card."""
    row: dict[str, Any] = {noun: label(record, noun) for noun in NOUNS}
    row |= {"settings": rest(record), "status": record["status"], "reason": reason(record)}
    _flatten(measured(record, "clean"), "clean_", row)
    _flatten(measured(record, "attack"), "", row)
    return row | {"flags": ";".join(flags), "fingerprint": record["fingerprint"]}


def _flatten(nested: Mapping[str, Any], prefix: str, columns: dict[str, Any]) -> None:
    for key, value in nested.items():
        if isinstance(value, dict):
            _flatten(value, f"{prefix}{key}_", columns)
        else:
            columns[prefix + key] = ";".join(map(str, value)) if isinstance(value, list) else value


def dotted(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value inside ``nested`` with its place, such as ``attack.asr``.

    >>> dict(dotted({"attack": {"steps": 40, "budget": {}}, "seed": 0}))
    {'attack.steps': 40, 'attack.budget': {}, 'seed': 0}
    """
    for name, value in nested.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
