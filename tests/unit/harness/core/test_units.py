"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest

from frbench.harness.core.errors import ConfigError
from frbench.harness.core.units import seconds, size_in_bytes


@pytest.mark.parametrize(
    ("text", "expected"), [("30d", 30 * 86400), ("12h", 43200), ("1.5h", 5400), ("0s", 0), ("2w", 14 * 86400)]
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text, "older_than") == expected


@pytest.mark.parametrize(("text", "expected"), [("50GB", 50e9), ("800 MB", 8e8), ("1.5tb", 1.5e12), ("0B", 0)])
def test_sizes(text: str, expected: float) -> None:
    assert size_in_bytes(text, "cache_at_most") == expected


@pytest.mark.parametrize("text", ["30", "d", "-1d", "30 years", 30, None, "1e3d"])
def test_what_is_no_duration_is_refused_with_the_units(text: object) -> None:
    with pytest.raises(ConfigError, match="older_than=.*expected a duration such as 30d or 12h; units: s, m, h, d, w"):
        seconds(text, "older_than")
