"""Progress where no bar can be drawn: lines in a log, seldom, and none for short work."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise

import pytest

from frbench.harness.runtime import progress
from frbench.harness.runtime.progress import byte_bar, count_bar, over


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "monotonic", made)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return made


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What standard error got since it was last asked; standard output stays empty."""
    out, error = capsys.readouterr()
    assert not out
    return error.splitlines()


def spend(clock: Clock, seconds: float, count: int) -> Iterator[int]:
    for item in range(count):
        clock.now += seconds
        yield item


def test_short_work_is_silent(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with count_bar("selector", "images") as report:
        for number in spend(clock, 0.29, 100):
            report(number + 1, 100)
    assert lines(capsys) == []


def test_long_work_tells_how_far_it_is_how_fast_and_how_long_it_takes(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with count_bar("selector", "images") as report:
        for number in spend(clock, 1, 100):
            report(100 * (number + 1), 10_000)
        assert lines(capsys) == [
            "selector: 3,000 of 10,000 images, 100 images/s, 0:01:10 left",
            "selector: 9,000 of 10,000 images, 100 images/s, 0:00:10 left",
        ]
    assert lines(capsys) == ["selector: 10,000 images, done in 0:01:40"]


def test_a_day_of_work_is_some_dozens_of_lines(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Each a minute or a tenth of the time so far after the one before it."""
    with count_bar("selector", "images") as report:
        for number in spend(clock, 1, 24 * 3600):
            report(number + 1, 24 * 3600)
    found = [int(each.split()[1].replace(",", "")) for each in lines(capsys)[:-1]]
    assert found[:3] == [30, 90, 150]
    assert all(later - sooner >= max(60, sooner / 10) for sooner, later in pairwise(found))
    assert all(later - sooner <= max(61, sooner / 10 + 1) for sooner, later in pairwise(found))
    assert 40 < len(found) < 80


def test_work_that_is_resumed_is_timed_from_where_it_went_on(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with count_bar("selector", "images") as report:
        report(5000, 6000)
        clock.now += 50
        report(5100, 6000)
        assert lines(capsys) == ["selector: 5,100 of 6,000 images, 2 images/s, 0:07:30 left"]


def test_items_are_counted_when_they_are_done(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """The first of them is told without a rate: nobody knows yet whether it was found or made."""
    for _ in over(range(3), "attack", "pairs", 256):
        clock.now += 600
    assert lines(capsys) == [
        "attack: 256 of 768 pairs",
        "attack: 512 of 768 pairs, 0.43 pairs/s, 0:10:00 left",
        "attack: 768 of 768 pairs, 0.43 pairs/s, 0:00:00 left",
        "attack: 768 pairs, done in 0:30:00",
    ]


def test_the_last_block_counts_only_what_is_in_it(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in over(range(0, 300, 256), "attack", "pairs", 256):
        clock.now += 600
    assert lines(capsys)[-1] == "attack: 300 pairs, done in 0:20:00"


def test_short_work_within_long_work_adds_no_lines(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in over(range(100), "attack", "pairs", 1):
        for _ in over(range(10), "clean scores", "pairs", 1):
            clock.now += 1
    found = lines(capsys)
    assert all(each.startswith("attack: ") for each in found)
    assert len(found) < 20


def test_bytes_have_their_units_and_a_total_may_be_unknown(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with byte_bar("fetching") as report:
        report(0, None)
        clock.now += 40
        report(8_000_000, None)
        clock.now += 60
        report(20_000_000, 30_000_000)
        assert lines(capsys) == [
            "fetching: 8.0 MB, 200.0 kB/s",
            "fetching: 20.0 MB of 30.0 MB, 200.0 kB/s, 0:00:50 left",
        ]


def failing(clock: Clock) -> None:
    with count_bar("selector", "images") as report:
        clock.now += 30
        report(1, 10)
        raise RuntimeError


def test_work_that_fails_or_is_left_is_not_called_done(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError):
        failing(clock)
    assert lines(capsys) == ["selector: 1 of 10 images"]
    left = over(range(10), "attack", "pairs", 1)
    for item in left:
        clock.now += 50
        if item == 1:
            break
    left.close()  # type: ignore[attr-defined]
    assert lines(capsys) == ["attack: 1 of 10 pairs"]


def test_a_terminal_gets_bars_and_no_lines(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with count_bar("selector", "images") as report:
        clock.now += 100
        report(5, 10)
    assert "5/10" in terminal.getvalue()
    assert "5 of 10" not in terminal.getvalue()
