"""Which records belong to a cell of a paper's table: their options and changed settings. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from frbench.harness.core.ratios import as_number
from frbench.harness.storage.records import Record

_SETTINGS = "settings"


def matches(record: Record, where: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> bool:
    """Whether ``record`` has every entry of ``where``, or of one of several mappings.

    Keys are nouns (``defense: pin``), ``seed``, or ``settings``, a mapping from a changed setting to its value. A list
    means any of its values; null means that the record has no such noun or has not changed that setting.
    """
    if not isinstance(where, Mapping):
        return any(matches(record, each) for each in where)
    return all(_value(record, kind, key) in accepted for kind, key, accepted in _conditions(where))


def _conditions(where: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str | None]]]:
    for key, wanted in where.items():
        if key == _SETTINGS:
            yield from ((_SETTINGS, name, _texts(value)) for name, value in wanted.items())
        else:
            yield "names", key, _texts(wanted)


def _value(record: Record, kind: str, key: str) -> str | None:
    if kind == _SETTINGS:
        return _text(record["settings"].get(key))
    return _text(record["seed"] if key == "seed" else record["names"].get(key))


def _texts(wanted: Any) -> list[str | None]:
    return [_text(each) for each in (wanted if isinstance(wanted, list) else [wanted])]


def _text(value: Any) -> str | None:
    return None if value is None else str(as_number(value))
