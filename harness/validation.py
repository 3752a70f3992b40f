"""Checks of what comes from configs: only trusted targets are built, and fields hold what they are declared to."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Union

from frbench.harness.errors import FrbenchError

_PLAIN = (int, float, str, bool, type(None))


def check_targets(config: Any, trusted: Sequence[str]) -> None:
    """Refuse every ``_target_`` of a resolved config that is not of frbench or of a package trusted by name."""
    allowed = ("frbench", *trusted)
    for target in _targets(config):
        if not isinstance(target, str) or target.split(".")[0] not in allowed:
            package = str(target).split(".")[0]
            raise FrbenchError(f"_target_ {target} is not of frbench; if you trust that package, add trust=[{package}]")


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
            raise FrbenchError(f"{where}.{name} cannot be set: {reason}")
        check_names(value, f"{where}.{name}")


def check_fields(thing: Any, where: str) -> None:
    """Refuse a field of a dataclass whose plain type (number, text, choice) is not the declared one, however deep
    inside; and a maker of networks that lacks an argument or has one too many or of another type."""
    if isinstance(thing, partial):
        _check_arguments(thing, where)
    if isinstance(thing, Mapping | list | tuple):
        for name, each in thing.items() if isinstance(thing, Mapping) else enumerate(thing):
            check_fields(each, f"{where}.{name}")
    if not dataclasses.is_dataclass(thing):
        return
    hints = typing.get_type_hints(type(thing))
    for field in dataclasses.fields(thing):
        value = getattr(thing, field.name)
        _check_value(value, hints[field.name], f"{where}.{field.name}")
        check_fields(value, f"{where}.{field.name}")


def _check_arguments(maker: partial[Any], where: str) -> None:
    try:
        signature = inspect.signature(maker.func)
        signature.bind_partial(*maker.args, **maker.keywords)
    except TypeError as error:
        taken = ", ".join(inspect.signature(maker.func).parameters)
        raise FrbenchError(f"{where}: {error}; {getattr(maker.func, '__name__', maker.func)} takes {taken}") from error
    made: Any = maker.func
    try:
        hints = typing.get_type_hints(getattr(made, "__init__") if isinstance(made, type) else made)  # noqa: B009
    except (NameError, TypeError):  # annotations that only a type checker can read, or none at all
        return
    for name, value in maker.keywords.items():
        _check_value(value, hints.get(name, Any), f"{where}.{name}")


def _check_value(value: Any, hint: Any, where: str) -> None:
    parts = list(_choices(hint))
    kinds = [each for each in parts if each in _PLAIN]
    words = [word for each in parts if typing.get_origin(each) is Literal for word in typing.get_args(each)]
    if not isinstance(value, _PLAIN) or not (kinds or words) or value in words or _fits(value, kinds):
        return
    wanted = ["null" if each is type(None) else each.__name__ for each in kinds] + [str(word) for word in words]
    raise FrbenchError(f"{where}={value} is not {' or '.join(wanted)}")


def _choices(hint: Any) -> Iterator[Any]:
    if typing.get_origin(hint) in (Union, types.UnionType):
        for part in typing.get_args(hint):
            yield from _choices(part)
    else:
        yield hint


def _fits(value: Any, kinds: Sequence[type]) -> bool:
    if isinstance(value, bool):
        return bool in kinds
    return any(isinstance(value, kind) or (kind is float and isinstance(value, int)) for kind in kinds)
