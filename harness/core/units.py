"""Durations and sizes as people write them: 30d, 12h, 50GB."""

from __future__ import annotations

import re
from collections.abc import Mapping

from frbench.harness.core.errors import ConfigError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def seconds(text: object, name: str) -> float:
    """The seconds of a duration such as 30d. name: of the setting, for the error.

    Raises ConfigError: it is none.
    """
    return _value(text, name, _SECONDS, "a duration such as 30d or 12h")


def size_in_bytes(text: object, name: str) -> float:
    """The bytes of a size such as 50GB (10^9 bytes each). Raises ConfigError: it is none."""
    return _value(text, name, _BYTES, "a size such as 50GB or 800MB")


def _value(text: object, name: str, units: Mapping[str, int], expected: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]+)", str(text).strip(), re.ASCII)
    by_name = {unit.lower(): value for unit, value in units.items()}
    if found is None or found[2].lower() not in by_name:
        raise ConfigError(f"{name}={text}: expected {expected}; units: {', '.join(units)}")
    return float(found[1]) * by_name[found[2].lower()]
