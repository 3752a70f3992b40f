"""What a heartbeat says: the loop that runs, how far it is, and how many results are in the store."""

from __future__ import annotations

import pytest

from frbench.harness.runtime import activity
from frbench.harness.runtime.progress import count_bar, over


def test_the_loop_that_runs_is_named_with_its_units(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(activity.time, "monotonic", lambda: now)
    with count_bar("attack", "pairs") as report:
        report(64, 640)
        assert activity.current().rate is None, "nobody knows yet whether these pairs were found or made"
        now += 4
        report(128, 640)
        found = activity.current()
    assert (found.title, found.done, found.total, found.rate) == ("attack", 128, 640, 16.0)


def test_after_an_inner_loop_the_outer_one_is_the_current_one() -> None:
    titles = []
    for _ in over(range(2), "tracker", "trainings", 1):
        for _ in over(range(2), "clean scores", "pairs", 1):
            titles.append(activity.current().title)
        titles.append(activity.current().title)
    assert titles == ["clean scores", "clean scores", "tracker"] * 2


def test_the_number_of_kept_results_never_falls() -> None:
    before = activity.current().kept
    with count_bar("attack", "pairs") as outer:
        activity.kept()
        with count_bar("clean scores", "pairs"):
            activity.kept()
        outer(1, 2)
        assert activity.current().kept == before + 2
    assert activity.current().kept == before + 2
