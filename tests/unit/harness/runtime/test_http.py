"""``Retry-After`` as seconds, from each form that servers send."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from frbench.harness.runtime.http import retry_after


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), ("1.5", 1.5), ("-3", 0.0), ("soon", None), ("", None), (None, None)]
)
def test_a_number_is_seconds_and_what_cannot_be_read_is_none(value: str | None, seconds: float | None) -> None:
    assert retry_after({} if value is None else {"Retry-After": value}) == seconds


def test_a_date_is_the_time_until_then() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=60)
    assert retry_after({"Retry-After": format_datetime(soon, usegmt=True)}) == pytest.approx(60, abs=5)
    assert retry_after({"Retry-After": format_datetime(soon - timedelta(days=1), usegmt=True)}) == 0.0
