"""What differs between two runs: options, settings, data, code and machine. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from frbench.harness.storage.records import NOUNS, Record, dotted, label

ABSENT = "–"
_DIGITS = 12  # of a digest
_WITHOUT_EFFECT = ("fetch", "trust", "device")  # parts of a config that no result depends on
_MACHINE = ("device", "threads", "batch_size")


class Difference(NamedTuple):
    """A fact that differs between two runs.

    Attributes:
        part: ``option``, ``setting``, ``data``, ``code`` or ``machine``.
        name: such as ``defense`` or ``attack.steps``.
        a: the value of the first run, ``ABSENT`` if it has none.
        b: the value of the second run.
    """

    part: str
    name: str
    a: str
    b: str


def run_differences(a: Record, b: Record) -> list[Difference]:
    """All facts that differ between two records, options first; nothing that both share.

    The settings of a noun are compared only where both runs have the same option of that noun.

    Args:
        a: the first record, see ``portable``, so that the folders of a machine are no differences.
        b: the second record, likewise.
    """
    first, second = _card(a), _card(b)
    options = {noun: (label(a, noun), label(b, noun)) for noun in NOUNS if _name(a, noun) != _name(b, noun)}
    found = [Difference("option", noun, left or ABSENT, right or ABSENT) for noun, (left, right) in options.items()]
    settings = (
        {name: value for name, value in _settings(record).items() if name.split(".")[0] not in options}
        for record in (a, b)
    )
    found += _differing("setting", *settings)
    found += _differing("data", _digests(first), _digests(second))
    found += _differing("code", _code(first), _code(second))
    return found + _differing("machine", *({name: card.get(name) for name in _MACHINE} for card in (first, second)))


def _differing(part: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    pairs = {name: (_text(a.get(name)), _text(b.get(name))) for name in sorted({*a, *b})}
    return [Difference(part, name, left, right) for name, (left, right) in pairs.items() if left != right]


def _name(record: Record, noun: str) -> str:
    return record["names"].get(noun) or ""


def _card(record: Record) -> Mapping[str, Any]:
    return record["card"] or {}


def _settings(record: Record) -> dict[str, Any]:
    """Dotted settings of a run: those of its config that results depend on, else its changed ones."""
    config = _card(record).get("config")
    if not isinstance(config, Mapping) or not config:
        return {"seed": record.get("seed"), **record["settings"]}
    kept = {name: value for name, value in config.items() if name not in _WITHOUT_EFFECT}
    return dict(dotted(kept))


def _digests(card: Mapping[str, Any]) -> dict[str, Any]:
    found = card.get("digests")
    if not isinstance(found, Mapping):
        return {}
    return {f"{name} digest": value[:_DIGITS] for name, value in found.items() if isinstance(value, str)}


def _code(card: Mapping[str, Any]) -> dict[str, Any]:
    versions = card.get("versions")
    commit = card.get("git")
    if isinstance(commit, str):
        commit = re.sub(f"^([0-9a-f]{{{_DIGITS}}})[0-9a-f]+", r"\1", commit)
    return {"commit": commit, **(versions if isinstance(versions, Mapping) else {})}


def _text(value: Any) -> str:
    """A value as a user would type it."""
    if value is None:
        return ABSENT
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
