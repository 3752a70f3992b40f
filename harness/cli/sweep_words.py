"""Words of the verbs that take a sweep: ``frbench work|status|cancel [SWEEP] [paths.results=FOLDER] …``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from frbench.harness.cli.plain_words import Accepted, Setting, parse_words
from frbench.harness.core.errors import ConfigError

_ACCEPTED: Mapping[str, Accepted] = {
    "work": Accepted(
        {
            "fail_fast": Setting("true|false", "true or false"),
            "images": Setting("keep|until_judged", "keep or until_judged"),
            "timeout_min": Setting("0*[1-9][0-9]*", "a number of minutes above 0"),
        },
        valued_flags=("--group",),
    ),
    "status": Accepted(plain_flags=("--json",)),
    "cancel": Accepted(),
}


@dataclass(frozen=True)
class SweepWords:
    """The parsed words of a command.

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
    found = parse_words(words, _ACCEPTED[verb])
    if len(found.names) > 1:
        raise ConfigError(f"expected one sweep, got {' and '.join(found.names)}; list all of them with frbench status")
    return SweepWords(found.names[0] if found.names else None, found.results, found.settings, found.flags)
