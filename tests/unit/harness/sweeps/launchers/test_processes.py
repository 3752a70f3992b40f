"""The launcher of several processes; its workers are small scripts here, and real ones in the integration tests."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from frbench.harness.sweeps.launchers.base import Submission
from frbench.harness.sweeps.launchers.processes import Processes
from tests.support.small_plans import small_folder


@dataclass(frozen=True)
class Scripts(Submission):
    """Jobs that run a line of Python."""

    script: str = "pass"

    def command(self, group: int | str | None = None) -> list[str]:
        return [sys.executable, "-c", self.script]


def scripts(results: Path, script: str) -> Scripts:
    return Scripts(small_folder(results), {}, (), work=lambda: 0, show_progress=lambda: None, script=script)


def test_that_each_worker_has_its_share_of_the_threads_and_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    script = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['CUDA_VISIBLE_DEVICES'])"
    jobs = scripts(tmp_path, script)
    assert Processes(workers=3).launch(jobs) == 0
    threads = max(1, len(os.sched_getaffinity(0)) // 3)
    logs = [(jobs.folder.logs / f"worker-{number}.log").read_text() for number in range(3)]
    assert logs == [f"{threads} {gpu}\n" for gpu in (4, 7, 4)]
    assert len(jobs.folder.jobs()[0]["ids"]) == 3


@pytest.mark.parametrize(("script", "code"), [("raise SystemExit(1)", 1), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_that_the_exit_code_is_the_worst_of_the_workers(tmp_path: Path, script: str, code: int) -> None:
    assert Processes(workers=2).launch(scripts(tmp_path, script)) == code


def test_that_the_last_message_of_failed_workers_is_printed_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    jobs = scripts(tmp_path, "import sys; print('frbench: an earlier run', file=sys.stderr); sys.exit(2)")
    Processes(workers=1).launch(jobs)
    capfd.readouterr()
    jobs = scripts(tmp_path, "import sys; print('frbench: the disk is full', file=sys.stderr); sys.exit(2)")
    assert Processes(workers=2).launch(jobs) == 2
    assert capfd.readouterr().err == "frbench: the disk is full\n"
    assert Processes(workers=1).launch(scripts(tmp_path, "raise SystemExit(2)")) == 2
    log = jobs.folder.logs / "worker-0.log"
    assert capfd.readouterr().err == f"frbench: a worker ended with exit code 2; its output is in {log}\n"


@pytest.mark.parametrize(("reason", "code"), [("fail_fast=true, and a cell failed", 1), (None, 75)])
def test_that_a_stopped_sweep_has_the_code_of_the_failure_and_a_signal_its_own(
    tmp_path: Path, reason: str | None, code: int
) -> None:
    first = tmp_path / "first"
    jobs = scripts(
        tmp_path, f"import os, sys\ntry: os.mkdir({str(first)!r})\nexcept OSError: sys.exit(75)\nsys.exit(1)"
    )
    if reason is not None:
        jobs.folder.write_stop(reason)
    assert Processes(workers=2).launch(jobs) == code


def test_that_a_signal_reaches_the_workers_and_the_launcher_waits_for_them(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = (
        "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, lambda *a: sys.exit(75)); "
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    )

    def interrupt() -> None:
        while not ready.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=interrupt, daemon=True).start()
    before = signal.getsignal(signal.SIGTERM)
    assert Processes(workers=1).launch(scripts(tmp_path, script)) == 75
    assert signal.getsignal(signal.SIGTERM) == before
