"""Counts of passes and times of decisions."""

from __future__ import annotations

import pytest

from frbench.harness.recognizers import metering
from frbench.harness.recognizers.metering import Meter


def test_that_the_time_of_a_decision_is_the_median_over_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    meter, clock = Meter(), iter([0.0, 0.64, 1.0, 1.1, 2.0, 2.02])
    assert meter.ms_per_image is None
    monkeypatch.setattr(metering.time, "perf_counter", lambda: next(clock))
    for count in (64, 50, 2):  # 10, 2 and 10 ms
        with meter.deciding(count):
            pass
    assert meter.ms_per_image == pytest.approx(10)
    meter.reset()
    assert meter.ms_per_image is None
