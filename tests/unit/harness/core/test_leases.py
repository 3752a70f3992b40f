"""A lease keeps other processes from doing the same work, and never longer than its owner lives."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.file_systems import read_only

from frbench.harness.core.leases import lease

HOLD = """
import sys, time
from pathlib import Path
from frbench.harness.core.leases import lease
with lease(Path(sys.argv[1]), float(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(marker: Path, seconds: float, *before: str) -> subprocess.Popen[str]:
    """A process that holds the lease."""
    words = [*before, sys.executable, "-c", HOLD, str(marker), str(seconds)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline().strip() == "held"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_marker_exists_while_the_lease_is_held_and_no_longer(tmp_path: Path) -> None:
    marker = tmp_path / "leases" / "x.lease"
    with lease(marker) as mine:
        assert mine and marker.exists()
    with pytest.raises(ZeroDivisionError), lease(marker):
        raise ZeroDivisionError
    assert os.listdir(marker.parent) == []


def test_a_process_that_does_not_wait_learns_that_another_works(tmp_path: Path) -> None:
    marker = tmp_path / "x.lease"
    process = holder(marker, 30)
    try:
        started = time.monotonic()
        with lease(marker, 30, wait=False) as mine:
            assert not mine
        assert time.monotonic() - started < 5 and marker.exists()
    finally:
        kill(process)
    with lease(marker, 30, wait=False) as mine:
        assert mine, "the owner on this host is dead"
    assert os.listdir(tmp_path) == []


def test_the_lease_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    kill(holder(tmp_path / "x.lease", 30))
    started = time.monotonic()
    with lease(tmp_path / "x.lease", 30) as mine:
        assert mine and time.monotonic() - started < 5


def test_a_dead_owner_on_another_host_delays_by_the_lease_and_no_more(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "--uts", "true"], capture_output=True, check=False).returncode:
        pytest.skip("unshare --uts is not permitted here")
    elsewhere = ("unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh")
    kill(holder(tmp_path / "x.lease", 2, *elsewhere))
    started = time.monotonic()
    with lease(tmp_path / "x.lease", 2) as mine:
        waited = time.monotonic() - started
    assert mine and 1.5 < waited < 12, waited


def test_the_lease_of_one_busy_thread_outlives_its_duration(tmp_path: Path) -> None:
    marker = tmp_path / "x.lease"
    code = HOLD.replace("    time.sleep(60)", "    end = time.monotonic() + 60\n    while time.monotonic() < end: pass")
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(marker), "1.5"], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None and process.stdout.readline().strip() == "held"
        waiting = subprocess.Popen([sys.executable, "-c", HOLD, str(marker), "1.5"], stdout=subprocess.PIPE, text=True)
        assert select.select([waiting.stdout], [], [], 5)[0] == [], "the lease was taken from a live owner"
        kill(waiting)
    finally:
        kill(process)


def test_leases_nest(tmp_path: Path) -> None:
    with lease(tmp_path / "outer.lease") as outer, lease(tmp_path / "inner.lease") as inner:
        assert outer and inner and len(os.listdir(tmp_path)) == 2
    assert os.listdir(tmp_path) == []


def test_a_read_only_folder_is_worked_in_without_a_lease(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "store").mkdir()
    with read_only(tmp_path / "store"), lease(tmp_path / "store" / "x.lease", wait=False) as mine:
        assert mine
    assert "without leases" in capfd.readouterr().err
