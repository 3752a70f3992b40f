"""Answers of trackers to numbers: against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from frbench.harness.protocols.cloaking.metrics import attack_measurements, clean_measurements, with_control


def rows(*each: tuple[int, int, int, bool, bool]) -> pd.DataFrame:
    """Turns as (split, user, photo, recognised, among five), on a tracker that knows half of its others."""
    frame = pd.DataFrame(each, columns=["split", "user", "index", "recognised", "top5"])
    return frame.assign(normal=0.5, train_accuracy=np.where(frame["user"] == 0, 1.0, 0.7))


def test_that_success_is_the_mean_over_users_and_not_over_photos() -> None:
    turns = rows(
        (0, 0, 1, False, False),
        (0, 0, 2, True, True),
        (1, 0, 1, False, True),
        (1, 0, 3, False, True),
        (0, 1, 9, True, True),
        (1, 1, 9, True, True),
    )
    control = turns.assign(recognised=[True, True, True, False, True, True])
    found = attack_measurements(with_control(turns, control), 2000)
    assert found["asr"] == pytest.approx((3 / 4 + 0) / 2)
    assert (found["asr_successes"], found["asr_denominator"], found["users"], found["splits"]) == (3, 6, 2, 2)
    assert found["top5"] == pytest.approx((3 / 4 + 1) / 2)
    assert found["no_cloak_error"] == pytest.approx((1 / 4 + 0) / 2)
    assert (found["normal_accuracy"], found["fit_accuracy"]) == (0.5, pytest.approx(0.85))
    assert (found["asr_low"], found["asr_high"]) == (0, 0.75)  # either user drawn twice


def test_that_clean_accuracy_is_the_mean_over_users_with_its_spread_over_splits() -> None:
    control = rows((0, 0, 1, True, True), (0, 0, 2, False, True), (1, 0, 1, True, True), (0, 1, 5, True, True))
    found = clean_measurements(control, 500)
    assert found["accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["accuracy_std"] == pytest.approx(np.std([2 / 3, 1]))
    assert (found["pairs"], found["users"], found["top5"]) == (4, 2, 1)
