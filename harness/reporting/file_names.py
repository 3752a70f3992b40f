"""File names of tables and figures that one can type: options, and settings only where they distinguish two. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from frbench.harness.reporting.words import split_label, without_folders

_LONGEST_NAME = 140  # characters of options in a file name
_LONGEST = 48  # characters of settings in a file name


@dataclass(frozen=True)
class FileName:
    """What a file name is made of.

    Attributes:
        kind: what the file shows, such as ``asr_by_budget``.
        subject: labels of options; empty ones are skipped.
        other: settings, in the name only if the options alone do not distinguish two files.
    """

    kind: str
    subject: tuple[str, ...] = ()
    other: tuple[str, ...] = ()

    @property
    def plain(self) -> str:
        """The name from the options alone, cut where it is too long for a file system."""
        parts = (self.kind, *(split_label(label)[0] for label in self.subject))
        return "-".join(_spelled(part) for part in parts if part)[:_LONGEST_NAME].rstrip("-_.")

    def __str__(self) -> str:
        return self.plain

    @property
    def settings(self) -> list[str]:
        """Every setting of the subject, and the others."""
        return [each for label in (*self.subject, *self.other) for each in split_label(label)[1]]


def file_names(names: Sequence[FileName]) -> list[str]:
    """A file name for each, without ending: its options, and settings or a number where these are the same."""
    alike: dict[str, list[FileName]] = {}
    for name in names:
        alike.setdefault(name.plain, []).append(name)
    suffixes = {plain: _suffixes(group) for plain, group in alike.items()}
    taken: set[str] = set()
    return [_free(name.plain + next(suffixes[name.plain]), taken) for name in names]


def _suffixes(group: Sequence[FileName]) -> Iterator[str]:
    """Settings that distinguish files of one name: those that not all of them have."""
    shared = set.intersection(*(set(name.settings) for name in group))
    for name in group:
        own = [_spelled(_last_word(each)) for each in name.settings if each not in shared]
        suffix = "-".join(dict.fromkeys(own))
        yield f"-{suffix}" if 0 < len(suffix) <= _LONGEST else ""


def _free(name: str, taken: set[str]) -> str:
    """``name``, with a number if it is taken, which it then is."""
    number, free = 1, name
    while free.lower() in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free.lower())
    return free


def _last_word(setting: str) -> str:
    """``recipe.schedule.epochs=6`` as ``epochs=6``."""
    key, equals, value = setting.partition("=")
    return f"{key.split('.')[-1]}{equals}{value}"


def _spelled(text: str) -> str:
    """``text`` in letters, digits, dots, dashes and single underscores."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", without_folders(text)).strip("_.")
