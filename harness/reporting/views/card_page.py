"""The run card of a record as a page: what was measured, on which data, and how to repeat it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from frbench.harness.core.errors import shortened
from frbench.harness.core.flags import Flag
from frbench.harness.reporting.tables.rendering import MISSING, Table, markdown, plain
from frbench.harness.storage.portable_record import overrides_of
from frbench.harness.storage.records import NOUNS, Record, label, measured, reason, rest

_COUNTS = {"accuracy": ("", "pairs"), "tar": ("accepted", "genuine"), "far": ("false_accepts", "impostors")}
_SHOWN_WITH_OTHERS = frozenset(name for pair in _COUNTS.values() for name in pair)
_LONGEST = 2000  # characters of one text
_MEANINGS = {flag.value: flag.meaning for flag in Flag}
_RUN = ("started", "seconds", "ms_per_image", "device", "threads", "batch_size", "forwards", "backwards", "git")


class Measure(NamedTuple):
    """A number of a record.

    Attributes:
        name: its place in the measurements, such as ``attack.asr``.
        value: the number; None where it could not be measured.
        low: start of the 95 % confidence interval, or None.
        high: end of the interval.
        counts: such as ``41 of 80``; empty for a number that is no share.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    counts: str


def measures(record: Record) -> list[Measure]:
    """All numbers of a record."""
    return [each for part in ("clean", "attack") for each in _measures(measured(record, part), part)]


def card_page(record: Record, flags: Sequence[str], file: str) -> str:
    """The run card in Markdown.

    Args:
        record: portable.
        flags: of the record and of its comparisons.
        file: name of the file with the same card as JSON.
    """
    card, found = record["card"] or {}, measures(record)
    shares = [each for each in found if each.low is not None]
    others = [each for each in found if each.low is None and each.value is not None]
    nouns = [noun for noun in NOUNS if record["names"].get(noun)]
    tables = [
        _table("What was measured", ("noun", "option", "fields"), [_noun(record, noun) for noun in nouns]),
        _table("Results", ("measure", "value", "95 % interval", "counts"), map(_share, shares), 3),
        _table("Flags", ("flag", "meaning"), [(flag, _MEANINGS.get(flag, MISSING)) for flag in flags]),
        _table("Other numbers", ("measure", "value"), [(each.name, f"{each.value:.6g}") for each in others], 1),
        _table("SHA-256 of data and weights", ("part", "digest"), _present(card.get("digests"))),
        _table("Software", ("name", "version"), _present(card.get("versions"))),
        _table("Run", ("fact", "value"), _run(record)),
    ]
    status = _inline(f"{record['status']}: {reason(record)}" if record["reason"] else record["status"])
    head = [f"# Run card {record['fingerprint'][:12]}", "", f"Status: {status}.", ""]
    head += [] if flags else ["No flag was raised.", ""]
    return "\n".join([*head, *(markdown(table) for table in tables if table is not None), *_how_to(record, file)])


def command(record: Record) -> str | None:
    """The command of the cell, without paths; None for an old record."""
    words = overrides_of(record)
    return None if words is None else shlex.join(["frbench", "run", *words])


def _measures(found: Mapping[str, Any], place: str) -> Iterator[Measure]:
    for key, value in found.items():
        if isinstance(value, Mapping):
            yield from _measures(value, f"{place}.{key}")
        elif _is_number(value) and not _belongs(key, found):
            low, high = (found.get(f"{key}_{end}") for end in ("low", "high"))
            yield Measure(f"{place}.{key}", None if value is None else float(value), low, high, _counts(key, found))


def _is_number(value: Any) -> bool:
    return value is None or value == "inf" or (isinstance(value, int | float) and not isinstance(value, bool))


def _belongs(key: str, found: Mapping[str, Any]) -> bool:
    """Whether ``key`` is the interval or a count of another number beside it."""
    name, _, end = key.rpartition("_")
    return key in _SHOWN_WITH_OTHERS or (end in ("low", "high", "successes", "denominator") and name in found)


def _counts(key: str, found: Mapping[str, Any]) -> str:
    part, whole = (found.get(name) for name in _COUNTS.get(key, (f"{key}_successes", f"{key}_denominator")))
    return " of ".join(str(each) for each in (part, whole) if each is not None)


def _share(each: Measure) -> tuple[str, ...]:
    return each.name, f"{each.value:.6g}", f"[{each.low:.4g}, {each.high:.4g}]", each.counts or MISSING


def _noun(record: Record, noun: str) -> tuple[str, ...]:
    fields = record["hyperparameters"].get(noun)
    values = [f"{key}={value}" for key, value in sorted(fields.items())] if isinstance(fields, Mapping) else []
    return noun, label(record, noun), ", ".join(values) or MISSING


def _run(record: Record) -> list[tuple[str, ...]]:
    card = record["card"] or {}
    found = {"seed": record["seed"], "other settings": rest(record), **{key: card.get(key) for key in _RUN}}
    return _present(found)


def _present(found: Mapping[str, Any] | None) -> list[tuple[str, ...]]:
    return [(name, str(value)) for name, value in (found or {}).items() if value not in (None, "")]


def _table(title: str, header: tuple[str, ...], rows: Iterable[tuple[str, ...]], numbers: int = 0) -> Table | None:
    """numbers: of the last columns, which hold numbers."""
    cells = tuple(tuple(plain(_inline(text)) for text in row) for row in rows)
    return Table(title, title, "", header, cells, len(header) - numbers) if cells else None


def _inline(text: str) -> str:
    """``text`` on one line, without HTML."""
    whole = shortened(text, _LONGEST).encode(errors="replace").decode()  # JSON can hold half characters
    return whole.replace("&", "&amp;").replace("<", "&lt;") if text else MISSING


def _how_to(record: Record, file: str) -> list[str]:
    words = command(record)
    return [
        "### How to repeat it",
        "",
        "```",
        *([words] if words else []),
        f"frbench reproduce {file}",
        "```",
        "",
        f"`frbench reproduce` reads the JSON file beside this page, runs the cell, and compares every number. "
        f"Fingerprint: `{record['fingerprint']}`.",
        "",
    ]
