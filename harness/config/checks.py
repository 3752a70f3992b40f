"""Checks of configs: only trusted classes are built, and every value has the type and range of its annotation.

Ranges are annotations from ``core.domains``.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from omegaconf import MISSING

from frbench.harness.core.domains import BelowOne, JpegQuality, NonNegativeInt, PositiveInt, Seed
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.trusted_targets import check_target
from frbench.harness.core.typed_values import accepts, expected, hints_of, is_plain, keys_of, shown

TOP_LEVEL: Mapping[str, Any] = {  # top-level settings of all verbs
    "seed": Seed,
    "fit_seed": Seed,
    "batch_size": PositiveInt,
    "allow_overlap": bool,
    "allow_low_accuracy": bool,
    "fetch": bool,
    "wait": bool,
    "retry": Literal["failed", "crashed", "none"],
    "fail_fast": bool,
    "images": Literal["keep", "until_judged"],
    "overwrite": bool,
    "pairs": Literal["samples", "cached"],
    "tolerance": BelowOne,
    "delete": bool,
    "alignment_jitter": BelowOne,
    "top": NonNegativeInt,
    "figures": Literal["main", "all", "none"],
    "timing": bool,
    "quality": JpegQuality,
    "recursive": bool,
    "warn_face_size": NonNegativeInt,
    "min_face_size": PositiveInt,
}


@runtime_checkable
class Combined(Protocol):
    """A class with fields that must fit together: ``check_combination`` raises ConfigError if they do not.

    It is called after every single field has passed. ``where``: the name of the option as a user types it.
    """

    def check_combination(self, where: str) -> None: ...


@runtime_checkable
class Explaining(Protocol):
    """A class that explains why it lacks fields that a user may try. elsewhere: field -> where to set it instead."""

    elsewhere: ClassVar[Mapping[str, str]]


def check_targets(config: Any, trusted: Sequence[str]) -> None:
    """Raises ConfigError: a ``_target_``, at any depth, is outside frbench and the ``trusted`` packages."""
    for target in _targets(config):
        check_target(target, trusted)


def _targets(config: Any) -> Iterator[Any]:
    if isinstance(config, dict):
        if config.get("_target_") not in (None, MISSING):  # a missing one is reported by its name
            yield config["_target_"]
        for value in config.values():
            yield from _targets(value)
    elif isinstance(config, list):
        for value in config:
            yield from _targets(value)


def why_not_settable(target: Any, name: str) -> str | None:
    """Why a class of frbench has no field ``name``, and where to set it instead; None if the class does not say.

    target: the ``_target_`` of the class (see ``Explaining``).
    """
    module, _, kind = str(target).rpartition(".")
    if not module.startswith("frbench."):
        return None
    found = getattr(importlib.import_module(module), kind, None)
    return found.elsewhere.get(name) if isinstance(found, Explaining) else None


def check_names(config: Any, where: str) -> None:
    """Raises ConfigError: a field, at any depth, that its class asks to set elsewhere (see ``Explaining``)."""
    if not isinstance(config, Mapping):
        return
    for name, value in config.items():
        reason = why_not_settable(config.get("_target_"), str(name))
        if reason is not None:
            raise ConfigError(f"'{where}.{name}' cannot be set: {reason}")
        check_names(value, f"{where}.{name}")


def check_fields(built: Any, where: str) -> None:
    """Check the fields of a dataclass, or the arguments of a partial, at any depth.

    Raises ConfigError: a value of the wrong type or out of range, fields that do not fit together (``Combined``), or
    arguments that the callable of the partial does not accept.
    """
    if isinstance(built, partial):
        _check_arguments(built, where)
    if isinstance(built, Mapping | list | tuple):
        for name, each in built.items() if isinstance(built, Mapping) else enumerate(built):
            check_fields(each, dotted(where, name))
    if not dataclasses.is_dataclass(built) or isinstance(built, type):
        return
    values = {field.name: getattr(built, field.name) for field in dataclasses.fields(built)}
    check_values(values, hints_of(type(built)), where)
    for name, value in values.items():
        check_fields(value, dotted(where, name))
    if isinstance(built, Combined):
        built.check_combination(where)


def check_values(values: Mapping[str, Any], hints: Mapping[str, Any], where: str) -> None:
    """Raises ConfigError: a plain value that does not fit the type hint of its name. Other values are not checked."""
    for name, value in values.items():
        hint = hints.get(name, Any)
        if isinstance(value, Mapping):
            check_values(value, keys_of(hint), dotted(where, name))
        if is_plain(value) and not accepts(hint, value):
            raise ConfigError(f"{dotted(where, name)}={shown(value)} is not {expected(hint)}")


def dotted(where: str, name: Any) -> str:
    """The field ``name`` of the option ``where``, as a user types it."""
    return f"{where}.{name}" if where else str(name)


def _check_arguments(function: partial[Any], where: str) -> None:
    try:
        signature = inspect.signature(function.func)
        signature.bind_partial(*function.args, **function.keywords)
    except TypeError as error:
        name, parameters = (
            getattr(function.func, "__name__", function.func),
            inspect.signature(function.func).parameters,
        )
        raise ConfigError(f"{where}: {error}; arguments of {name}: {', '.join(parameters)}") from error
    check_values(function.keywords, hints_of(function.func), where)
