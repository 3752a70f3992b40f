"""Checks of what comes from configs: only trusted targets are built, and every field is inside its domain.

A field's domain is its annotation (see ``domains``).
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

from frbench.harness.core.domains import BelowOne, JpegQuality, NonNegativeInt, PositiveInt, Seed
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.typed_values import accepts, expected, hints_of, is_plain, keys_of, shown

TOP_LEVEL: Mapping[str, Any] = {  # settings that belong to no option, of run, cloak, serve and report
    "seed": Seed,
    "fit_seed": Seed,
    "batch_size": PositiveInt,
    "allow_overlap": bool,
    "allow_low_accuracy": bool,
    "fetch": bool,
    "spread": BelowOne,
    "top": NonNegativeInt,
    "quality": JpegQuality,
    "recursive": bool,
    "small": NonNegativeInt,
    "smallest": PositiveInt,
}


@runtime_checkable
class Combined(Protocol):
    """An option with settings that must fit together: ``check_combination`` raises FrbenchError where they do not.

    It is called after each field was found inside its domain. ``where``: the name of the option as a user types it.
    """

    def check_combination(self, where: str) -> None: ...


def check_targets(config: Any, trusted: Sequence[str]) -> None:
    """Refuse every ``_target_`` of a resolved config that is not of frbench or of a package trusted by name."""
    allowed = ("frbench", *trusted)
    for target in _targets(config):
        if not isinstance(target, str) or target.split(".")[0] not in allowed:
            package = str(target).split(".")[0]
            raise ConfigError(f"_target_ {target} is not of frbench; if you trust that package, add trust=[{package}]")


def _targets(config: Any) -> Iterator[Any]:
    if isinstance(config, dict):
        if config.get("_target_") is not None:
            yield config["_target_"]
        for value in config.values():
            yield from _targets(value)
    elif isinstance(config, list):
        for value in config:
            yield from _targets(value)


def set_elsewhere(target: Any, name: str) -> str | None:
    """Why an object of frbench has no field ``name`` and where it is set instead; None where the class does not say.

    target: the ``_target_`` of the object. A class says so in its mapping ``elsewhere``.
    """
    module, _, kind = str(target).rpartition(".")
    if not module.startswith("frbench."):
        return None
    found = getattr(importlib.import_module(module), kind, None)
    reason: str | None = getattr(found, "elsewhere", {}).get(name)
    return reason


def check_names(config: Any, where: str) -> None:
    """Refuse, however deep inside, what is set on an object that has it set elsewhere; see ``set_elsewhere``."""
    if not isinstance(config, Mapping):
        return
    for name, value in config.items():
        reason = set_elsewhere(config.get("_target_"), str(name))
        if reason is not None:
            raise ConfigError(f"{where}.{name} cannot be set: {reason}")
        check_names(value, f"{where}.{name}")


def check_fields(thing: Any, where: str) -> None:
    """Refuse a field of a dataclass that is outside its domain, however deep inside; settings that do not fit together
    (``Combined``); and a maker of networks that lacks an argument or has one too many or outside its domain."""
    if isinstance(thing, partial):
        _check_arguments(thing, where)
    if isinstance(thing, Mapping | list | tuple):
        for name, each in thing.items() if isinstance(thing, Mapping) else enumerate(thing):
            check_fields(each, named(where, name))
    if not dataclasses.is_dataclass(thing) or isinstance(thing, type):
        return
    values = {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}
    check_values(values, hints_of(type(thing)), where)
    for name, value in values.items():
        check_fields(value, named(where, name))
    if isinstance(thing, Combined):
        thing.check_combination(where)


def check_values(values: Mapping[str, Any], hints: Mapping[str, Any], where: str) -> None:
    """Refuse a plain value that does not fit the type hint of its name; other values and names are left alone."""
    for name, value in values.items():
        hint = hints.get(name, Any)
        if isinstance(value, Mapping):
            check_values(value, keys_of(hint), named(where, name))
        if is_plain(value) and not accepts(hint, value):
            raise ConfigError(f"{named(where, name)}={shown(value)} is not {expected(hint)}")


def named(where: str, name: Any) -> str:
    """The setting ``name`` of the option ``where`` as a user types it."""
    return f"{where}.{name}" if where else str(name)


def _check_arguments(maker: partial[Any], where: str) -> None:
    try:
        signature = inspect.signature(maker.func)
        signature.bind_partial(*maker.args, **maker.keywords)
    except TypeError as error:
        taken = ", ".join(inspect.signature(maker.func).parameters)
        raise ConfigError(f"{where}: {error}; {getattr(maker.func, '__name__', maker.func)} takes {taken}") from error
    check_values(maker.keywords, hints_of(maker.func), where)
