"""Options of the Python interface as overrides of the command line."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from frbench.harness.config.cell_labels import CELL_GROUPS, FACES
from frbench.harness.config.conf_files import known_options, packaged
from frbench.harness.config.hydra_errors import unknown_name, unknown_option
from frbench.harness.config.option import Option, RunSettings
from frbench.harness.core.errors import ConfigError

FOLDERS = ("results", "data", "cache")  # of ``paths`` on the command line
_FLAGS = ("config_dir", "trust")  # written in a form of their own
_EXPERIMENT = "experiment"  # a group that sets others


class Placed(NamedTuple):
    """An option and its dotted place in the config of a run, such as ``threat.surrogate``."""

    place: str
    option: Option


def check_option(option: Option) -> None:
    """Raises ConfigError: ``option`` does not exist."""
    folder = None if option.config_dir is None else Path(option.config_dir)
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"config_dir={folder} is not a folder; give the folder that has {option.group}/*.yaml")
    groups = known_options(folder)
    if option.group not in groups:
        raise ConfigError(unknown_name(option.group, list(groups)))
    if option.name not in groups[option.group]:
        raise ConfigError(unknown_option(option.group, option.name, list(groups[option.group])))


def run_words(choices: Mapping[str, object], run: RunSettings) -> list[str]:
    """The overrides of ``frbench run`` for ``choices``, by group, and the settings ``run``.

    Args:
        choices: an ``Option`` or its name; None for the default of the command line.

    Raises:
        ConfigError: an unknown option or setting of the run, an option in the place of another group, an object in
            the place of an option, or a value that the command line cannot express.
    """
    split_arguments({**choices, **run})
    folder = _config_dir(choices, run)
    chosen = [Placed(group, _as_option(group, each, folder)) for group, each in choices.items() if each is not None]
    names, settings = _all_words(chosen, folder)
    return [*_start(folder), *names, *settings, *_setting_words(run)]


def _start(folder: Path | None) -> list[str]:
    return [] if folder is None else [f"--config-dir={folder}"]


def split_arguments(given: Mapping[str, Any]) -> tuple[dict[str, object], RunSettings]:
    """The arguments of ``evaluate`` as options by group and settings of the run.

    Raises ConfigError: an argument is neither.
    """
    groups, known = [*CELL_GROUPS, FACES, "audit"], [*RunSettings.__annotations__]
    for name in given:
        if name not in (*groups, *known):
            near = difflib.get_close_matches(name, [*groups, *known], n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join([*groups, *known])}"
            raise ConfigError(f"unknown argument {name}; {hint}")
    choices = {group: given[group] for group in groups if group in given}
    run: Any = {name: value for name, value in given.items() if name in known}
    return choices, run


def _setting_words(run: RunSettings) -> Iterator[str]:
    for name, value in run.items():
        if name in FOLDERS:
            yield word(f"paths.{name}", value)
        elif name not in _FLAGS:
            yield word(name, value)
    if trusted := run.get("trust"):
        yield word("trust", [trusted] if isinstance(trusted, str) else list(trusted))


def _config_dir(choices: Mapping[str, object], run: RunSettings) -> Path | None:
    """The one folder of own options."""
    given = [run.get("config_dir"), *(each.config_dir for each in choices.values() if isinstance(each, Option))]
    folders = {Path(folder) for folder in given if folder is not None}
    if len(folders) > 1:
        shown = ", ".join(sorted(map(str, folders)))
        raise ConfigError(f"config_dir must be one folder for all options of a run, got {shown}")
    return next(iter(folders), None)


def _as_option(group: str, given: object, folder: Path | None) -> Option:
    if isinstance(given, str):
        return Option(group, given, config_dir=folder)
    if not isinstance(given, Option):
        raise ConfigError(_object_refused(group, given))
    if given.group != group:
        raise ConfigError(f"{group}={given!r} is not of the group {group}; use {group}(NAME)")
    return given


def _object_refused(group: str, given: object) -> str:
    """How to make an option of an own object, in one line."""
    kind = type(given)
    name = kind.__name__.lower()
    return (
        f"{group}={kind.__qualname__}(...) is an object, expected an option or its name: a record must say how to "
        f"build it again. Write '_target_: {kind.__module__}.{kind.__qualname__}' and its fields to "
        f"my_conf/{group}/{name}.yaml, then use {group}='{name}' with config_dir='my_conf' and "
        f"trust=['{kind.__module__.split('.')[0]}']; craft and embed take the object itself"
    )


def _all_words(chosen: Sequence[Placed], folder: Path | None) -> tuple[list[str], list[str]]:
    """Words that choose options, outer ones first, and words that set values."""
    names: list[str] = []
    settings: list[str] = []
    level, top, known = list(chosen), top_groups(), _names(folder)
    while level:
        places = _places((*_start(folder), *names)) if names else {}
        names += [_choice(placed, places, top) for placed in level]
        if any(_may_choose(value, known) for placed in level for value in placed.option.settings.values()):
            places = _places((*_start(folder), *names))
        inner: list[Placed] = []
        for place, option in level:
            for key, value in option.settings.items():
                for each, found in _entries(_dotted(place, key), value, places, folder):
                    if isinstance(found, Option):
                        inner.append(Placed(each.lstrip("+"), found))
                    else:
                        settings.append(_setting(each, found))
        level = inner
    return names, settings


def _choice(placed: Placed, places: Mapping[str, str], top: Sequence[str]) -> str:
    place, option = placed
    if place == option.group and option.group in top:
        return word(option.group, option.name)
    added = "" if place in places else "+"
    return word(f"{added}{option.group}@{place}", option.name)


def _entries(place: str, value: Any, places: Mapping[str, str], folder: Path | None) -> Iterator[tuple[str, Any]]:
    """``value`` at ``place``; each entry of a mapping that has options by itself; names of options as options."""
    if isinstance(value, Mapping) and any(map(_has_option, value.values())):
        for key, each in value.items():
            yield from _entries(f"{place}.{key}", each, places, folder)
    elif isinstance(value, str) and place in places:
        yield place, Option(places[place], value, config_dir=folder)
    else:
        yield place, value


def _has_option(value: Any) -> bool:
    return isinstance(value, Option) or (isinstance(value, Mapping) and any(map(_has_option, value.values())))


def _may_choose(value: Any, known: Collection[str]) -> bool:
    """Whether ``value`` holds an option, or a text that may be the name of one."""
    if isinstance(value, Mapping):
        return any(_may_choose(each, known) for each in value.values())
    return isinstance(value, Option) or (isinstance(value, str) and value in known)


def _names(folder: Path | None) -> set[str]:
    """The names of all options, of whatever group."""
    return {name for options in known_options(folder).values() for name in options}


@lru_cache
def top_groups() -> list[str]:
    """The groups that ``conf/run.yaml`` chooses an option of."""
    defaults = packaged("run.yaml")["defaults"]
    return [group for each in defaults if isinstance(each, dict) for group in each if group != _EXPERIMENT]


@lru_cache
def _places(words: tuple[str, ...]) -> Mapping[str, str]:
    """Dotted place -> group of the options inside other options, in the run that ``words`` compose to."""
    from frbench.harness.config.compose import compose

    nested = (key.partition("@") for key in compose("run", words).choices if "@" in key)
    return {place: group for group, _, place in nested}


def _dotted(place: str, key: str) -> str:
    """``place.key`` with a sign of ``key`` in front."""
    sign = key[:1] if key[:1] in ("+", "~") else ""
    return f"{sign}{place}.{key.removeprefix(sign)}"


def _setting(place: str, value: object) -> str:
    """The override that sets ``place``; a mapping is merged into the one that is there, and may add entries."""
    if place.startswith("~"):
        return place
    return word(f"++{place.lstrip('+')}" if isinstance(value, Mapping) else place, value)


def word(key: str, value: object) -> str:
    """The override ``key=value``. Raises ConfigError: the command line cannot express ``value``."""
    try:
        return f"{key}={literal(value)}"
    except TypeError as error:
        raise ConfigError(f"{key.lstrip('+')}: {error}") from error


def literal(value: object) -> str:
    """``value`` as the command line writes it.

    Raises TypeError: it is not None, a bool, number, text or path, nor a list or mapping of them.

    >>> literal({"size": [112, 96], "path": "my model.onnx", "limit": None})
    '{size:[112,96],path:my model.onnx,limit:null}'
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(int(value) if isinstance(value, int) else float(value))
    if isinstance(value, str | PathLike):
        return _text(str(fspath(value)))
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_key(key)}:{literal(each)}" for key, each in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(map(literal, value)) + "]"
    number = getattr(value, "item", None)  # a NumPy scalar
    if callable(number) and getattr(value, "ndim", None) == 0:
        return literal(number())
    article = "the class" if inspect.isclass(value) else "a"
    kind = value.__qualname__ if inspect.isclass(value) else type(value).__qualname__
    raise TypeError(f"got {article} {kind}, expected None, a bool, number, text, path, list, mapping or option")


def _text(text: str) -> str:
    """``text``, in double quotes where Hydra would otherwise parse it differently in any place."""
    try:
        bare = OverridesParser.create().parse_override(f"x=[{{a:{text}}}]").value() == [{"a": text}]
    except HydraException:
        bare = False
    return text if bare else QuotedString(text, Quote.double).with_quotes()


def _key(key: object) -> str:
    text = _text(str(key))
    if text != str(key):
        raise TypeError(f"the key {key!r} of a mapping has characters that the command line cannot express")
    return text
