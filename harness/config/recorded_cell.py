"""From the record of a cell, maybe of another machine, to the same cell on this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from frbench.harness.config.cell_labels import CELL_GROUPS, FACES, SURROGATE, TRACKER
from frbench.harness.config.checks import TOP_LEVEL, check_values
from frbench.harness.config.recorded_values import LocalValues, check_recorded_targets
from frbench.harness.config.running import CellConfig
from frbench.harness.core.errors import ConfigError, shortened
from frbench.harness.storage.records import Record

_GROUPS = (*CELL_GROUPS, FACES, "audit")
_NUMBERS = ("seed", "fit_seed", "batch_size", "allow_overlap", "allow_low_accuracy")
_OWN = ("paths", "device", "fetch", "trust")  # of this machine and its user
_FACES_OF_DEFENSE = "defense.faces"  # setting with the option of the faces that the defense is fitted on


def split_own_values(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Other words, and the values of ``words`` such as ``recognizer.path=FILE`` by their key.

    Raises ConfigError: a syntax error.
    """
    others, given = [], {}
    for word in words:
        key = word.partition("=")[0].lstrip("+")
        if key.split(".")[0] not in (*_GROUPS, *_NUMBERS):
            others.append(word)
            continue
        try:
            given[key] = OverridesParser.create().parse_override(word).value()
        except HydraException as error:
            raise ConfigError(f"cannot parse {shortened(word)}; expected {key}=VALUE") from error
    return others, given


def recorded_cell(record: Record, own: Mapping[str, Any], given: Mapping[str, Any]) -> CellConfig:
    """The cell of ``record``.

    Args:
        record: portable, see ``storage.portable_record``.
        own: ``paths``, ``device``, ``fetch`` and ``trust`` of this run, resolved.
        given: values for files, addresses and environment variables of the user who made the record, by place.

    Raises:
        ConfigError: the record has no config, or one of another version; a value that the user must give; a class that
            is not built from a record; a value of the wrong type.
    """
    recorded = (record["card"] or {}).get("config")
    if not recorded or not isinstance(recorded, Mapping):
        raise ConfigError("the record has no card.config, so its cell cannot be repeated; take another record")
    absent = [name for name in (*_GROUPS, *_NUMBERS) if name not in recorded]
    if absent:
        raise ConfigError(
            f"card.config of the record has no {', '.join(absent)}; use the frbench version that wrote it"
        )
    wrong = [name for name in _GROUPS if not isinstance(recorded[name], Mapping)]
    if wrong:
        raise ConfigError(f"card.config.{wrong[0]} of the record is {shortened(recorded[wrong[0]], 60)!r}, no mapping")
    values = LocalValues(own["paths"], own["device"], given)
    config = {name: values.of(recorded[name], name) for name in _GROUPS}
    check_recorded_targets(config, list(own["trust"]))
    config |= {name: recorded[name] for name in _NUMBERS} | {name: own[name] for name in _OWN} | {"out": None}
    check_values(config, TOP_LEVEL, "")
    unused = [key for key in given if key not in values.used]
    if unused:
        raise ConfigError(
            f"{unused[0]} is a setting of the record, and frbench reproduce repeats the record; only files, addresses "
            "and environment variables of its user can be given"
        )
    return CellConfig(config, _choices(record), dict(record["settings"]), ())


def _choices(record: Record) -> dict[str, str]:
    """The option of each group, from the names of the record."""
    names = record["names"]
    absent = [group for group in CELL_GROUPS if not names.get(group)]
    if absent:
        raise ConfigError(f"names of the record has no {', '.join(absent)}; use the frbench version that wrote it")
    nested = {SURROGATE: names.get("surrogate"), TRACKER: names.get("tracker")}
    faces = record["settings"].get(_FACES_OF_DEFENSE, "celeba")
    found = {group: names[group] for group in CELL_GROUPS} | {FACES: str(faces)}
    return found | {group: name for group, name in nested.items() if name}
