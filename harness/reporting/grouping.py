"""The figures of ``protocol=verification``: which records share a figure, and what all of them have. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from frbench.harness.reporting.words import words
from frbench.harness.storage.records import Record, label, measured, rest

SETTING = ("dataset", "recognizer", "protocol", "surrogate", "settings")  # the same in all panels of a figure

Key = tuple[str, ...]  # values of SETTING, then of more nouns


def grouped(records: Sequence[Record], nouns: Sequence[str]) -> Iterator[tuple[Key, list[Record]]]:
    """Finished records by figure; of several results with the same labels, the last."""
    groups: dict[Key, dict[Key, Record]] = {}
    for record in (r for r in records if measured(r, "attack")):
        setting = (*(label(record, noun) for noun in SETTING[:-1]), rest(record))
        key = (*setting, *(label(record, noun) for noun in nouns))
        own = tuple(label(record, noun) for noun in ("budget", "attack", "defense", "goal"))
        groups.setdefault(key, {})[own] = record
    yield from ((key, list(group.values())) for key, group in groups.items())


def models(key: Key) -> str:
    """Recognizer, dataset, surrogate and other settings in words."""
    dataset, recognizer, _, surrogate, settings = key[: len(SETTING)]
    parts = [
        f"{words(recognizer)} on {words(dataset)}",
        f"surrogate {words(surrogate)}" if surrogate else "",
        words(settings),
    ]
    return ", ".join(part for part in parts if part)


def subject(key: Key, *more: str) -> Key:
    """The labels of a file name: dataset, recognizer, surrogate, and ``more``."""
    return (key[0], key[1], key[3], *more)


def others(key: Key) -> Key:
    """Protocol and other settings, for figures that the subject does not distinguish."""
    return (key[2], key[4])
