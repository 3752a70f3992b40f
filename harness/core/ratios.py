"""Ratios such as ``8/255``, read as numbers."""

from __future__ import annotations

import re
from typing import Any

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RATIO = re.compile(rf"\s*({_NUMBER})\s*/\s*({_NUMBER})\s*")


def as_number(text: Any) -> Any:
    """The value of a ratio of two numbers; anything else unchanged."""
    found = _RATIO.fullmatch(text) if isinstance(text, str) else None
    return float(found[1]) / float(found[2]) if found and float(found[2]) else text


def is_number(value: Any) -> bool:
    """Whether ``value`` is a number; a bool is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)
