"""Signals ask for a stop; loops stop at their next border."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from frbench.harness.core.leases import lease
from frbench.harness.runtime import interrupts
from frbench.harness.runtime.interrupts import Interrupted, deferred, handling_signals
from frbench.harness.runtime.progress import count_bar, over

SIGNALS = [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2]


@pytest.fixture(autouse=True)
def _handlers_are_restored() -> Iterator[None]:
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert not interrupts.requested()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_loop_stops_after_the_item_in_which_a_signal_came(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    finished = []

    def work() -> None:
        for item in over(range(5), "attack", "pairs", 1):
            if item == 2:
                os.kill(os.getpid(), number)
                os.kill(os.getpid(), signal.SIGTERM)  # a second one changes nothing
            finished.append(item)

    with pytest.raises(Interrupted, match=number.name), handling_signals():
        work()
    assert finished == [0, 1, 2]
    error = capfd.readouterr().err
    assert error.count("finishing the current block") == error.count("\n") == 1


def test_a_loop_that_reports_by_itself_stops_too() -> None:
    with handling_signals(), count_bar("fit", "images") as report:
        report(1, 3)
        os.kill(os.getpid(), signal.SIGUSR2)
        with pytest.raises(Interrupted):
            report(2, 3)


def test_no_code_that_catches_exceptions_sees_an_interruption() -> None:
    def careless() -> None:
        try:
            interrupts.check()
        except Exception:
            pytest.fail("an interruption was caught as an error")

    with handling_signals():
        interrupts.request("test")
        with pytest.raises(Interrupted):
            careless()


def test_a_loop_with_borders_of_its_own_defers_the_stop() -> None:
    with handling_signals():
        with deferred():
            interrupts.request("test")
            interrupts.check()
            assert interrupts.requested()
        with pytest.raises(Interrupted):
            interrupts.check()


def test_an_inner_block_leaves_the_stop_to_the_outer_one() -> None:
    with handling_signals():
        with handling_signals():
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            interrupts.check()


def test_a_thread_handles_no_signals() -> None:
    def handlers() -> list[object]:
        assert threading.current_thread() is not threading.main_thread()
        with handling_signals():
            return [signal.getsignal(number) for number in SIGNALS]

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(handlers).result() == [signal.getsignal(number) for number in SIGNALS]


def test_ctrl_c_interrupts_at_once() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs without it
    try:
        with handling_signals(), pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_process_that_waits_for_the_lease_of_another_stops_too(tmp_path: Path) -> None:
    marker, held, done = tmp_path / "cell.lease", threading.Event(), threading.Event()

    def other() -> None:
        with lease(marker):
            held.set()
            done.wait(60)

    with ThreadPoolExecutor(1) as pool, handling_signals():
        working = pool.submit(other)
        assert held.wait(60)
        interrupts.request("test")
        try:
            with pytest.raises(Interrupted), lease(marker):
                pytest.fail("two owners have the same lease")
        finally:
            done.set()
        working.result()
    assert not marker.exists()
