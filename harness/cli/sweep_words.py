"""Words of the verbs that take a sweep: ``frbench work|status|cancel [SWEEP] [paths.results=FOLDER] …``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from frbench.harness.core.errors import ConfigError

_RESULTS = "paths.results"
# Of each verb: its settings besides the results folder, its flags with a value, its flags without one.
_ACCEPTED: Mapping[str, tuple[Mapping[str, str], Sequence[str], Sequence[str]]] = {
    "work": (
        {"fail_fast": "true or false", "images": "keep or until_judged", "timeout_min": "a number of minutes above 0"},
        ("--group",),
        (),
    ),
    "status": ({}, (), ("--json",)),
    "cancel": ({}, (), ()),
}
_VALUES = {"fail_fast": "true|false", "images": "keep|until_judged", "timeout_min": "0*[1-9][0-9]*"}


@dataclass(frozen=True)
class SweepWords:
    """What was typed.

    Attributes:
        sweep: the id of a sweep or its beginning; None for the latest sweep.
        results: the results folder.
        settings: ``key=value`` words besides it.
        flags: flags with their values, such as ``--group`` -> ``3``; empty text for one without a value.
    """

    sweep: str | None
    results: Path
    settings: dict[str, str]
    flags: dict[str, str]


def parse(verb: str, words: Sequence[str]) -> SweepWords:
    """Parse the ``words`` after ``verb``, one of work, status and cancel.

    Raises:
        ConfigError: an unknown key or flag, a wrong value, a flag without its value, or two sweeps.
    """
    settings, valued, plain = _ACCEPTED[verb]
    sweeps: list[str] = []
    given: dict[str, str] = {}
    flags: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in plain and not equals:
            flags[name] = ""
        elif name in valued:
            if not equals and not rest:
                raise ConfigError(f"{name} needs a value: {name} VALUE")
            flags[name] = value if equals else rest.pop(0)
        elif word.startswith("-"):
            raise ConfigError(f"unknown flag {word}; available flags: {', '.join((*valued, *plain)) or 'none'}")
        elif equals and name in (_RESULTS, *settings):
            given[name] = _unquoted(value)
            if name in settings and not re.fullmatch(_VALUES[name], given[name]):
                raise ConfigError(f"{word} is wrong; {name} takes {settings[name]}")
        elif equals:
            raise ConfigError(f"unknown setting {name}; available: {', '.join((_RESULTS, *settings))}")
        else:
            sweeps.append(word)
    if len(sweeps) > 1:
        raise ConfigError(f"expected one sweep, got {' and '.join(sweeps)}; list all of them with frbench status")
    results = Path(given.pop(_RESULTS, "results")).expanduser()
    return SweepWords(sweeps[0] if sweeps else None, results, given, flags)


def _unquoted(value: str) -> str:
    """``value`` without the quotes in which Hydra takes text with special characters."""
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value
