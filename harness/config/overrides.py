"""Overrides on the command line: flags in Hydra's form, what a sweep varies, syntax errors, and quoting."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf

from frbench.harness.core.errors import ConfigError

CONF = "frbench.conf"
_SWEEP = ("-m", "--multirun")
_WITH_VALUE = {"-cd": "--config-dir", "-c": "--cfg", "-p": "--package", "-i": "--info"}
_ALONE = (*_SWEEP, "--resolve", "-h", "--help", "--hydra-help", "-r", "--run")


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
    return sorted(found, key=lambda word: (word not in _SWEEP, not word.startswith("-")))


def own_folder(words: Sequence[str]) -> Path | None:
    """The folder of a user's own options, given with ``--config-dir``; None without it. words: tidied."""
    given = [word.partition("=")[2] for word in words if word.startswith("--config-dir=")]
    return Path(given[-1]) if given else None


def prepared(words: Sequence[str]) -> list[str]:
    """``words`` with each setting inside a swept option written as a sweep of one value.

    Hydra first composes a sweep without the swept values, and would refuse a setting of an option not chosen yet.
    """
    given = _parsed(words)
    swept = {each.package or each.key_or_group for each in given.values() if each.is_sweep_override()}
    swept |= {each.package or each.key_or_group for each in _experiment_sweep(given.values(), words)}
    inside = {
        word: _as_sweep(word, each)
        for word, each in given.items()
        if not (each.is_sweep_override() or each.is_delete() or "${" in word)
        and any((each.package or each.key_or_group).startswith(f"{group}.") for group in swept)
    }
    return [inside.get(word, word) for word in words]


def varying(words: Sequence[str]) -> set[str]:
    """The keys that take more than one value in a sweep over ``words``."""
    given = _parsed(words).values()
    last = {each.get_key_element(): each for each in (*_experiment_sweep(given, words), *given)}
    return {key for key, each in last.items() if each.is_discrete_sweep() and _count(each) > 1}


def _count(swept: Override) -> int:
    return sum(1 for _ in swept.sweep_string_iterator())


def _parsed(words: Sequence[str]) -> dict[str, Override]:
    """Each override as Hydra parses it; empty if one has a syntax error, which Hydra reports later."""
    parser = OverridesParser.create()
    try:
        return {word: parser.parse_override(word) for word in words if not word.startswith("-")}
    except HydraException:
        return {}


def _experiment_sweep(given: Iterable[Override], words: Sequence[str]) -> list[Override]:
    """The overrides over which a chosen experiment sweeps."""
    names = [each.value() for each in given if each.key_or_group == "experiment"]
    folders = [folder for folder in (own_folder(words), resources.files(CONF)) if folder is not None]
    files = [folder / "experiment" / f"{name}.yaml" for name in names if isinstance(name, str) for folder in folders]
    file = next((each for each in files if each.is_file()), None)
    if file is None:  # Hydra reports an experiment that does not exist
        return []
    params = OmegaConf.select(OmegaConf.create(file.read_text(encoding="utf-8")), "hydra.sweeper.params")
    parser = OverridesParser.create()
    return [parser.parse_override(f"{key}={value}") for key, value in (params or {}).items()]


def _as_sweep(word: str, given: Override) -> str:
    key, value = word.partition("=")[0], given.get_value_element_as_str()
    if value == "null":  # Hydra has no sweep over null alone
        return f"++{key.lstrip('+')}=null"
    return f"{key}=choice({value})"


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
