"""The verbs status and cancel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from frbench.harness.cli.main import main
from frbench.harness.storage.records import plain
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.sweeps.failures import Failure, FailureKind
from frbench.harness.sweeps.sweep_folder import SweepFolder
from tests.support.fake_records import sweep
from tests.support.small_plans import small_folder, small_plan


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    """A sweep with a failed, a running and two missing cells."""
    found = small_folder(tmp_path)
    found.write_failure(found.plan.cells[0], Failure(FailureKind.BAD_INPUT, "no such file", log="logs/worker-0.log"))
    beat = {"state": "running", "time": time.time(), "since": time.time(), "host": "node", "pid": 7, "job": None}
    found.write_heartbeat("node-7", {**beat, "cell": "d1", "activity": "attack 64 of 600, 3.1/s", "log": None})
    return found


def test_that_each_state_is_counted_and_failures_are_explained(
    folder: SweepFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", f"paths.results={folder.results}"]) == 3
    assert capsys.readouterr().out.splitlines() == [
        "sweep-0123abcd: 4 cells: 1 failed, 1 running, 2 missing",
        "failed: attack.steps=0: bad input: no such file (log: logs/worker-0.log)",
        "running: attack.steps=1: attack 64 of 600, 3.1/s (node process 7)",
    ]


def test_that_json_lists_every_cell(folder: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "sweep", "--json", f"paths.results={folder.results}"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert [cell["state"] for cell in found["cells"]] == ["failed", "running", "missing", "missing"]
    assert found["cells"][2]["words"] == ["attack.steps=2"] and found["cells"][2]["fingerprint"] == f"{2:064d}"


def test_that_a_cancelled_sweep_says_how_to_continue(folder: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cancel", "sweep-01", f"paths.results={folder.results}"]) == 0
    assert folder.stop == "frbench cancel"
    capsys.readouterr()
    main(["status", f"paths.results={folder.results}"])
    assert "stopped: frbench cancel; the same frbench run command continues" in capsys.readouterr().out


def test_that_cancel_needs_the_id_of_a_sweep(folder: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cancel", f"paths.results={folder.results}"]) == 2
    assert "needs the id of a sweep" in capsys.readouterr().err and folder.stop is None


def test_that_status_imports_no_torch(folder: SweepFolder) -> None:
    script = (
        "import sys; from frbench.harness.cli.main import main; "
        f"main(['status', 'paths.results={folder.results}']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL).returncode == 0


def test_that_the_latest_sweep_is_shown_and_others_are_named(
    folder: SweepFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    os.utime(folder.root / "plan.jsonl", (1, 1))
    small_folder(folder.results, replace(small_plan(), id="demo-1"))
    assert main(["status", f"paths.results={folder.results}"]) == 3
    assert capsys.readouterr().out == "demo-1: 4 cells: 4 missing\nother sweeps: sweep-0123abcd\n"


def test_that_a_report_says_which_cells_it_cannot_show(folder: SweepFolder, capsys: pytest.CaptureFixture[str]) -> None:
    store = ResultStore(folder.results)
    for record in sweep(("fgsm",), ("linf_2",)).records():
        store.write_record(plain(record))
    words = ["report", "figures=none", f"paths.results={folder.results}"]
    assert main(words) == 0
    assert "1 cell of sweep-0123abcd failed without a record: frbench status sweep" in capsys.readouterr().err
