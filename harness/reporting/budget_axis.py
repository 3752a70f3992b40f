"""Names of budgets such as ``linf_8`` as numbers for an axis, and as words for a title. Pure."""

from __future__ import annotations

import re

_BUDGET = re.compile(r"([a-z][a-z0-9]*)_(\d+(?:p\d+)?)")
_SYMBOLS = {"linf": ("L∞", "/255"), "l2": ("L2", "")}
AXES = {"linf": "L∞ radius, gray levels of 255", "l2": "L2 radius on [0, 1]"}


def norm_and_radius(budget: str) -> tuple[str, float] | None:
    """Norm and radius of a budget named like ``linf_8`` or ``l2_0p5``; None for other names."""
    found = _BUDGET.fullmatch(budget)
    return (found[1], float(found[2].replace("p", "."))) if found else None


def budget_words(budget: str) -> str:
    """``linf_8`` as ``L∞ ≤ 8/255``; other names as they are."""
    found = norm_and_radius(budget)
    if found is None or found[0] not in _SYMBOLS:
        return budget
    symbol, unit = _SYMBOLS[found[0]]
    return f"{symbol} ≤ {found[1]:g}{unit}"
