"""Ratios such as ``8/255`` in a config, read as the numbers that they stand for.

Only where a number is expected: a text stays a text. Labels and fingerprints are those of the number.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Mapping
from typing import Any

from frbench.harness.core.typed_values import accepts, hints_of

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RATIO = re.compile(rf"\s*({_NUMBER})\s*/\s*({_NUMBER})\s*")


def as_number(text: Any) -> Any:
    """The number that a ratio of two numbers stands for; anything else as it is."""
    found = _RATIO.fullmatch(text) if isinstance(text, str) else None
    return float(found[1]) / float(found[2]) if found and float(found[2]) else text


def is_number(value: Any) -> bool:
    """A number, and no switch."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def with_numbers(config: Any, hints: Mapping[str, Any] | None = None) -> Any:
    """``config`` with a number in the place of each ratio that its field does not accept as a text.

    hints: the fields' types, by name; within a ``_target_`` those of what it makes.
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
    except (ImportError, AttributeError, ValueError):  # told where the object is built
        return {}
