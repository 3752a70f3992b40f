"""Ratios such as ``8/255`` as the values of a config.

They become numbers only where the field takes a number, so that labels and keys are those of the number.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import Any

from frbench.harness.core.ratios import as_number
from frbench.harness.core.typed_values import accepts, hints_of


def with_numbers(config: Any, hints: Mapping[str, Any] | None = None) -> Any:
    """``config`` with a number in place of each ratio, except where the field accepts it as text.

    hints: field -> type; inside a ``_target_`` the types come from its class.
    """
    if isinstance(config, list):
        return [with_numbers(each) for each in config]
    if not isinstance(config, Mapping):
        return config
    known = hints or (_hints(config["_target_"]) if config.get("_target_") else {})
    read = {name: _read(value, known[name]) if name in known else value for name, value in config.items()}
    return {name: with_numbers(value) for name, value in read.items()}


def _read(value: Any, hint: Any) -> Any:
    numbers = _numbers(value)
    return value if numbers == value or accepts(hint, value) else numbers


def _numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return value if "_target_" in value else {name: _numbers(each) for name, each in value.items()}
    return [_numbers(each) for each in value] if isinstance(value, list) else as_number(value)


def _hints(target: str) -> Mapping[str, Any]:
    try:
        return hints_of(pkgutil.resolve_name(target))
    except (ImportError, AttributeError, ValueError):  # reported when the object is built
        return {}
