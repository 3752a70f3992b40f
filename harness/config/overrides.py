"""The words behind a verb: which of them sweep, why one cannot be read, and how to write a value."""

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
    """``words`` with ``--flag value`` as ``--flag=value`` and ``-m`` first, where Hydra wants it.

    Raises FrbenchError: a flag that Hydra does not have.
    """
    found, waiting = [], list(words)
    while waiting:
        word = waiting.pop(0)
        flag, given, _ = word.partition("=")
        flag = _WITH_VALUE.get(flag, flag)
        if not word.startswith("-"):
            found.append(word)
        elif flag in _WITH_VALUE.values():
            if not given and not waiting:
                raise ConfigError(f"{word} needs a value: {flag}=VALUE")
            found.append(f"{flag}={word.partition('=')[2] if given else waiting.pop(0)}")
        elif flag in _ALONE:
            found.append(word)
        else:
            known = ", ".join((*_WITH_VALUE.values(), *_ALONE[1:3]))
            hint = f"options have no dashes: {word.lstrip('-')}" if given else f"there is -m, {known}"
            raise ConfigError(f"{word} is not a flag; {hint}")
    return sorted(found, key=lambda word: word not in _SWEEP)


def own_folder(words: Sequence[str]) -> Path | None:
    """The folder of a user's own options, if tidied ``words`` name one with ``--config-dir``."""
    given = [word.partition("=")[2] for word in words if word.startswith("--config-dir=")]
    return Path(given[-1]) if given else None


def prepared(words: Sequence[str]) -> list[str]:
    """``words`` where a setting, or an option, within a swept option is a sweep of one value.

    Hydra composes a sweep once without what is swept, where the option that the setting belongs to is not there yet.
    """
    given = _parsed(words)
    swept = {each.package or each.key_or_group for each in given.values() if each.is_sweep_override()}
    swept |= {each.package or each.key_or_group for each in _of_experiment(given.values(), words)}
    late = {
        word: _late(word, each)
        for word, each in given.items()
        if not (each.is_sweep_override() or each.is_delete() or "${" in word)
        and any((each.package or each.key_or_group).startswith(f"{group}.") for group in swept)
    }
    return [late.get(word, word) for word in words]


def varying(words: Sequence[str]) -> set[str]:
    """Keys of which a sweep over ``words`` takes more than one value."""
    given = _parsed(words).values()
    last = {each.get_key_element(): each for each in (*_of_experiment(given, words), *given)}
    return {key for key, each in last.items() if each.is_discrete_sweep() and _count(each) > 1}


def _count(swept: Override) -> int:
    return sum(1 for _ in swept.sweep_string_iterator())


def _parsed(words: Sequence[str]) -> dict[str, Override]:
    """Each override as Hydra reads it; none of them where one cannot be read, which Hydra says itself."""
    parser = OverridesParser.create()
    try:
        return {word: parser.parse_override(word) for word in words if not word.startswith("-")}
    except HydraException:
        return {}


def _of_experiment(given: Iterable[Override], words: Sequence[str]) -> list[Override]:
    """What a chosen experiment sweeps by itself, as overrides."""
    names = [each.value() for each in given if each.key_or_group == "experiment"]
    folders = [folder for folder in (own_folder(words), resources.files(CONF)) if folder is not None]
    files = [folder / "experiment" / f"{name}.yaml" for name in names if isinstance(name, str) for folder in folders]
    file = next((each for each in files if each.is_file()), None)
    if file is None:  # of an experiment that is not there, Hydra tells
        return []
    params = OmegaConf.select(OmegaConf.create(file.read_text(encoding="utf-8")), "hydra.sweeper.params")
    parser = OverridesParser.create()
    return [parser.parse_override(f"{key}={value}") for key, value in (params or {}).items()]


def _late(word: str, given: Override) -> str:
    key, value = word.partition("=")[0], given.get_value_element_as_str()
    return f"++{key.lstrip('+')}=null" if value == "null" else f"{key}=choice({value})"  # no sweep has a null alone


def quoted(key: str, value: str) -> str:
    """``key=value`` as the override grammar reads it back: in double quotes, unless it reads the bare text so too."""
    bare = f"{key}={value}"
    try:
        same = OverridesParser.create().parse_override(bare).value() == value
    except HydraException:
        same = False
    return bare if same else f"{key}={QuotedString(value, Quote.double).with_quotes()}"


def typed(key: str, value: str) -> str:
    """As ``quoted``, ready for a shell."""
    return shlex.quote(quoted(key, value))


def unreadable(error: Exception, words: Sequence[str]) -> str | None:
    """What to say of an override that cannot be read, or is ambiguous for a comma in it; None of another error."""
    if isinstance(error, OverrideParseException):
        key, given, value = error.override.partition("=")
        if not given or not key:
            return f"'{error.override}' cannot be read, expected KEY=VALUE"
        advice = f"text with special characters, such as a path, must be quoted: {typed(key, value)}"
        return f"{error.override} cannot be read ({str(error).splitlines()[0]}); {advice}"
    if "Ambiguous value for argument" not in str(error):
        return None
    word = next((each for each in words if f"'{each}'" in str(error)), "")
    key, _, value = word.partition("=")
    return (
        f"{word} has a comma: to try each value add -m; for a list write {shlex.quote(f'{key}=[{value}]')}; "
        f"for text with a comma in it write {typed(key, value)}"
    )
