"""Why a cell failed."""

from __future__ import annotations

import json

from frbench.harness.sweeps.failures import Failure, FailureKind, failure_from


def test_that_a_failure_is_read_as_it_was_written() -> None:
    failure = Failure(FailureKind.CRASHED, "Traceback\n  x\nValueError: no\n\n", recorded=True, job="7_1", log="a.log")
    again = failure_from(json.loads(json.dumps(failure.to_json())))
    assert again == failure and again.kind is FailureKind.CRASHED
    assert again.reason == "ValueError: no"


def test_that_a_failure_without_text_has_a_reason() -> None:
    assert Failure(FailureKind.NO_PROGRESS, "").reason == "no progress"
