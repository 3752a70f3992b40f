"""What a report draws: title, caption and file name of each figure, known before it is drawn. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frbench.harness.reporting.words import split_label, without_folders

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LONGEST = 48  # characters of settings in a file name


@dataclass(frozen=True)
class FigureSpec:
    """A figure that can be drawn.

    Attributes:
        kind: what it shows, the start of its file name, such as ``asr_by_budget``.
        subject: labels of the options in its file name; empty ones are skipped.
        other: settings, in the file name only if the options alone do not distinguish two figures.
        title: what it shows, in plain words.
        setting: models, data and other settings that hold for all of it.
        caption: what to see, in one sentence.
        draw: from a title to the figure.
        endings: of its files.
    """

    kind: str
    subject: tuple[str, ...]
    other: tuple[str, ...]
    title: str
    setting: str
    caption: str
    draw: Callable[[str], Figure]
    endings: tuple[str, ...] = ("png", "pdf")

    @property
    def name(self) -> str:
        """The file name from the options alone."""
        return "__".join(_spelled(part) for part in (self.kind, *(split_label(s)[0] for s in self.subject)) if part)

    @property
    def settings(self) -> list[str]:
        """Every setting of the subject, and the others."""
        return [each for label in (*self.subject, *self.other) for each in split_label(label)[1]]

    def figure(self) -> Figure:
        """Draw it."""
        return self.draw(f"{self.title}\n{self.setting}")


def file_names(specs: Sequence[FigureSpec]) -> list[str]:
    """A file name per figure, without ending: its options, and settings or a number where these are the same."""
    alike: dict[str, list[FigureSpec]] = {}
    for spec in specs:
        alike.setdefault(spec.name, []).append(spec)
    suffixes = {name: _suffixes(group) for name, group in alike.items()}
    taken: set[str] = set()
    return [_free(spec.name + next(suffixes[spec.name]), taken) for spec in specs]


def _suffixes(group: Sequence[FigureSpec]) -> Iterator[str]:
    """Settings that distinguish figures of one name: those that not all of them have."""
    shared = set.intersection(*(set(spec.settings) for spec in group))
    for spec in group:
        own = [_spelled(_last_word(each)) for each in spec.settings if each not in shared]
        suffix = "__".join(dict.fromkeys(own))
        yield f"__{suffix}" if 0 < len(suffix) <= _LONGEST else ""


def _free(name: str, taken: set[str]) -> str:
    """``name``, with a number if it is taken, which it then is."""
    number, free = 1, name
    while free.lower() in taken:
        number += 1
        free = f"{name}__{number}"
    taken.add(free.lower())
    return free


def _last_word(setting: str) -> str:
    """``recipe.schedule.epochs=6`` as ``epochs=6``."""
    key, equals, value = setting.partition("=")
    return f"{key.split('.')[-1]}{equals}{value}"


def _spelled(text: str) -> str:
    """``text`` in letters, digits, dots, dashes and single underscores."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", without_folders(text)).strip("_.")
