"""Running a sweep on a real Ray cluster of this machine, one of whose nodes is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.slurm_cluster import wait_for
from support.toy_sweeps import toy_sweep

from frbench.harness.core.errors import FrbenchError
from frbench.harness.sweeps.launchers.ray import Ray, run_command
from frbench.harness.sweeps.plan import Wave


def test_that_a_missing_package_or_cluster_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = toy_sweep(tmp_path, {Wave.CELLS: [0]})
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(FrbenchError, match=r'pip install "frbench\[ray\]"'):
        Ray().launch(sweep)
    assert not sweep.made()


def test_that_a_command_appends_to_its_log_and_its_exit_code_is_returned(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "group-1.log"
    script = "import os; print(os.environ['FRBENCH_LOG']); exit(3)"
    assert [run_command([sys.executable, "-c", script], str(log)) for _ in range(2)] == [3, 3]
    assert log.read_text() == f"{log}\n" * 2


def test_that_a_command_ends_when_the_process_of_its_task_is_killed(tmp_path: Path) -> None:
    sweep = toy_sweep(tmp_path, {Wave.CELLS: [0]}, steps=1000)
    log = str(tmp_path / "log")
    call = f"from {run_command.__module__} import run_command as run; run({sweep.command(0)!r}, {log!r})"
    task = subprocess.Popen([sys.executable, "-c", call])
    wait_for(lambda: sweep.made(), "the first step")
    task.send_signal(signal.SIGKILL)
    task.wait(30)
    made = sweep.made()[0]
    wait_for(lambda: sweep.made()[0] in (made, made + 1), "the last step")
