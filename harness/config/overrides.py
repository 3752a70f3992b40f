"""Overrides on the command line: flags in Hydra's form, syntax errors, and quoting."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException

from frbench.harness.core.errors import ConfigError

SWEEP_FLAGS = ("-m", "--multirun")
_WITH_VALUE = {"-cd": "--config-dir", "-c": "--cfg", "-p": "--package", "-i": "--info"}
_ALONE = (*SWEEP_FLAGS, "--resolve", "-h", "--help", "--hydra-help", "-r", "--run")


def tidied(words: Sequence[str]) -> list[str]:
    """``words`` with ``--flag value`` as ``--flag=value``, ``-m`` and other flags first, as Hydra requires.

    Raises ConfigError: an unknown flag, or a flag without its value.
    """
    found, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        flag, given, _ = word.partition("=")
        flag = _WITH_VALUE.get(flag, flag)
        if not word.startswith("-"):
            found.append(word)
        elif flag in _WITH_VALUE.values():
            if not given and not rest:
                raise ConfigError(f"{word} needs a value: {flag}=VALUE")
            found.append(f"{flag}={word.partition('=')[2] if given else rest.pop(0)}")
        elif flag in _ALONE:
            found.append(word)
        else:
            known = ", ".join((*_WITH_VALUE.values(), *_ALONE[1:3]))
            hint = f"write options without dashes: {word.lstrip('-')}" if given else f"available flags: -m, {known}"
            raise ConfigError(f"unknown flag {word}; {hint}")
    return sorted(found, key=lambda word: (word not in SWEEP_FLAGS, not word.startswith("-")))


def own_folder(words: Sequence[str]) -> Path | None:
    """The folder of a user's own options, given with ``--config-dir``; None without it. words: tidied."""
    given = [word.partition("=")[2] for word in words if word.startswith("--config-dir=")]
    return Path(given[-1]) if given else None


def quoted(key: str, value: str) -> str:
    """``key=value`` in double quotes where Hydra would otherwise parse ``value`` differently."""
    bare = f"{key}={value}"
    try:
        same = OverridesParser.create().parse_override(bare).value() == value
    except HydraException:
        same = False
    return bare if same else f"{key}={QuotedString(value, Quote.double).with_quotes()}"


def typed(key: str, value: str) -> str:
    """``quoted``, quoted again for a shell."""
    return shlex.quote(quoted(key, value))


def unreadable(error: Exception, words: Sequence[str]) -> str | None:
    """The message for a syntax error, or for a comma that may mean a sweep; None for any other error."""
    if isinstance(error, OverrideParseException):
        key, given, value = error.override.partition("=")
        if not given or not key:
            return f"cannot parse '{error.override}'; expected KEY=VALUE"
        advice = f"quote text with special characters, such as a path: {typed(key, value)}"
        return f"cannot parse {error.override} ({str(error).splitlines()[0]}); {advice}"
    if "Ambiguous value for argument" not in str(error):
        return None
    word = next((each for each in words if f"'{each}'" in str(error)), "")
    key, _, value = word.partition("=")
    return (
        f"{word} has a comma: for a sweep add -m; for a list write {shlex.quote(f'{key}=[{value}]')}; "
        f"for text that contains a comma write {typed(key, value)}"
    )
