"""One-line messages for what Hydra and OmegaConf refuse, with the nearest name that exists."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from frbench.harness.config.checks import why_not_settable
from frbench.harness.config.conf_files import NESTED, known_options, leaves
from frbench.harness.config.hydra_state import composed
from frbench.harness.config.number_hints import misplaced_number, number_hint
from frbench.harness.config.overrides import own_folder, unreadable
from frbench.harness.core.errors import ConfigError


@contextmanager
def explaining(name: str, words: Sequence[str]) -> Iterator[None]:
    """Turns what Hydra and OmegaConf raise on the overrides ``words`` of ``conf/<name>.yaml`` into a ConfigError."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explained(error, name, list(words))) from error
    except ValueError as error:
        if "Config group override" not in str(error):
            raise
        raise ConfigError(explained(error, name, list(words))) from error


def explained(error: Exception, name: str, words: list[str]) -> str:
    """What is wrong with the overrides ``words`` of ``conf/<name>.yaml``, in one line.

    error: what Hydra or OmegaConf raised on them.
    """
    if isinstance(error, MissingConfigException):
        return _missing_option(error)
    if "Config group override" in str(error):  # a number in place of an option, such as budget=8
        return unknown_option(*misplaced_number(words, known_options()))
    return unreadable(error, words) or _missing_key(error, name, words) or one_line(error)


def unknown_option(group: str, name: str, known: Sequence[str]) -> str:
    """The message for an option ``name`` that ``group`` does not have."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = number_hint(name, group, known_options().get(group, {})) or "".join(f"{group}={each}" for each in near)
    meant = f"did you mean {hint}? " if hint else ""
    return f"unknown option {group}={name}; {meant}options of {group}: {', '.join(known)}"


def unknown_name(name: str, known: Sequence[str]) -> str:
    """The message for a group, or a setting, that does not exist."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else "see: frbench options"
    return f"unknown option '{name}'; {hint}"


def one_line(error: BaseException) -> str:
    """Hydra's message in one line: its own or that of its cause, without its advice on environment variables."""
    text, cause = str(error).strip(), error.__cause__ or error.__context__
    if not text and cause:
        return one_line(cause)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    noise = ("full_key", "object_type")
    kept = [line for line in lines if "HYDRA_FULL_ERROR" not in line and not line.startswith(noise)]
    return f"{'; '.join(kept)}; see: frbench options"


def _missing_option(error: MissingConfigException) -> str:
    if not error.options or not error.missing_cfg_file:
        return one_line(error)
    found = re.search(r"Available options in '(.+?)'", str(error))
    group = found[1] if found else error.missing_cfg_file.rpartition("/")[0]
    return unknown_option(group, error.missing_cfg_file.removeprefix(f"{group}/"), list(error.options))


def _missing_key(error: Exception, name: str, words: list[str]) -> str | None:
    """The message for an override of a key that does not exist; None for any other error."""
    found = re.match(r"Could not override '(.+?)'", str(error))
    if not found:
        return None
    key = found[1]
    if "@" in key or (name == "run" and key in known_options()):
        return _misplaced_group(key)
    if key.startswith("training.") and not any(word.startswith("training=") for word in words):
        return f"'{key}' requires a training; add training=NAME, such as training=single"
    config = _chosen(name, [word for word in words if word.partition("=")[0] not in (key, "experiment")])
    place, _, field = key.rpartition(".")
    reason = why_not_settable(OmegaConf.select(config, f"{place}._target_") if place else None, field)
    if reason:
        return f"'{key}' cannot be set: {reason}"
    known = [each for each in (*config.hydra.runtime.choices, *leaves(config)) if not each.startswith("hydra")]
    return _missing_for(key, name, words) or unknown_name(key, known)


def _missing_for(key: str, name: str, words: list[str]) -> str | None:
    """The message for a key that only some options of a sweep have; None for any other key."""
    group = key.partition(".")[0]
    swept = next((word.partition("=")[2].split(",") for word in words if word.startswith(f"{group}=")), [])
    lacking = [option for option in swept if key not in leaves(_chosen(name, [f"{group}={option}"]))]
    if not 0 < len(lacking) < len(swept):
        return None
    return f"'{key}' does not exist for {group}={lacking[0]}; run the options that have it in a sweep of their own"


def _misplaced_group(key: str) -> str:
    """The message for a nested group, such as a tracker, whose outer option was not chosen."""
    if key in NESTED:
        return f"'{key}' is only valid with {NESTED[key]}"
    group = key.partition("@")[0]
    places = [f"{place}=NAME with {option}" for place, option in NESTED.items() if place.startswith(f"{group}@")]
    return f"unknown option '{key}'; use {' or '.join(places) or f'{group}=NAME'}"


def _chosen(name: str, words: list[str]) -> DictConfig:
    """``conf/<name>.yaml`` with the options that ``words`` choose, without settings, if these options compose."""
    options = [word for word in words if re.fullmatch(r"[^-.=,][^.=,]*=[^,]*", word)]
    try:
        return composed(name, options, own_folder(words))
    except HydraException:
        return composed(name, [], None)
