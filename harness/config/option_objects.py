"""Objects behind the options of the Python interface, for use outside a cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from frbench.harness.config import build, folders, resolution
from frbench.harness.config.cells import open_faces, open_test_set
from frbench.harness.config.compose import compose
from frbench.harness.config.option import Option, RunSettings
from frbench.harness.config.option_words import run_words, top_groups
from frbench.harness.core.contracts import Attack
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSet

Config = Mapping[str, Any]


def loaded(option: Option, run: RunSettings) -> Any:
    """The object behind ``option``; see ``Option.load``."""
    if option.group not in top_groups():
        raise ConfigError(f"{option.group} has no object by itself; use it as a setting of another option")
    return group_object(composed_config({option.group: option}, run), option.group)


def composed_config(options: Mapping[str, object], run: RunSettings) -> Config:
    """The resolved config of a run with ``options`` by group. Raises ConfigError: an option or a setting is wrong."""
    return resolution.plain(compose("run", run_words(options, run)).config)


def group_object(config: Config, group: str) -> Any:
    """The object of ``group`` in the config of a run. Raises ConfigError: a value is wrong."""
    make = _MAKERS.get(group)
    return build.instantiate(config[group], group) if make is None else make(config)


def _attack(config: Config) -> Attack | None:
    found: Attack | None = build.instantiate(config["attack"], "attack") if config["attack"]["_target_"] else None
    return found


def _identities(config: Config) -> FaceSet:
    return open_faces(build.instantiate(config["identities"], "identities"), folders.image_cache(config))


_MAKERS: Mapping[str, Callable[[Config], Any]] = {
    "dataset": open_test_set,
    "attack": _attack,
    "defense": build.make_defense,
    "identities": _identities,
}
