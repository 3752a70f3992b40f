"""Words of verbs without a config: names, ``key=value`` settings, and flags."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from frbench.harness.core.errors import ConfigError

_RESULTS = "paths.results"


@dataclass(frozen=True)
class Setting:
    """The values that a setting takes: a regular expression, and the same in words."""

    pattern: str
    takes: str


@dataclass(frozen=True)
class Accepted:
    """What a verb takes besides its names and ``paths.results``: settings, flags with a value, flags without one."""

    settings: Mapping[str, Setting] = field(default_factory=dict)
    valued_flags: Sequence[str] = ()
    plain_flags: Sequence[str] = ()


@dataclass(frozen=True)
class Words:
    """The parsed words of a command.

    Attributes:
        names: words that are neither settings nor flags.
        results: the results folder.
        settings: ``key=value`` words besides it.
        flags: flags with their values, such as ``--group`` -> ``3``; empty text for one without a value.
    """

    names: tuple[str, ...]
    results: Path
    settings: dict[str, str]
    flags: dict[str, str]


def parse_words(words: Sequence[str], accepted: Accepted) -> Words:
    """Parse the ``words`` after a verb. Raises ConfigError: an unknown key or flag, or a wrong or missing value."""
    names: list[str] = []
    given: dict[str, str] = {}
    flags: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in accepted.plain_flags and not equals:
            flags[name] = ""
        elif name in accepted.valued_flags:
            if not equals and not rest:
                raise ConfigError(f"{name} needs a value: {name} VALUE")
            flags[name] = value if equals else rest.pop(0)
        elif word.startswith("-"):
            available = ", ".join((*accepted.valued_flags, *accepted.plain_flags)) or "none"
            raise ConfigError(f"unknown flag {word}; available flags: {available}")
        elif equals:
            given[name] = _checked(word, accepted.settings)
        else:
            names.append(word)
    results = Path(given.pop(_RESULTS, "results")).expanduser()
    return Words(tuple(names), results, given, flags)


def _checked(word: str, settings: Mapping[str, Setting]) -> str:
    name, _, value = word.partition("=")
    found = _unquoted(value)
    if name != _RESULTS and name not in settings:
        raise ConfigError(f"unknown setting {name}; available: {', '.join((_RESULTS, *settings))}")
    if name in settings and not re.fullmatch(settings[name].pattern, found):
        raise ConfigError(f"{word} is wrong; {name} takes {settings[name].takes}")
    return found


def _unquoted(value: str) -> str:
    """``value`` without the quotes in which Hydra takes text with special characters."""
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value
