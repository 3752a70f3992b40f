"""The verbs run, plan and work."""

from __future__ import annotations

from pathlib import Path

import pytest

from frbench.harness.cli.main import main
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.sweeps.sweep_folder import find_sweep
from tests.support.small_sweeps import SMALL


def words(results: Path, *more: str) -> list[str]:
    return ["-m", *SMALL, "defense=none,blur", *more, f"paths.results={results}"]


def test_that_a_plan_runs_nothing_and_names_what_a_run_would_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *words(tmp_path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith(": 2 cells, 0 done, 2 to run")
    assert printed[1:3] == ["jobs: 2 clean, 1 cells", "adversarial images: 1 set to make, for 2 cells"]
    assert printed[3].startswith("estimate for one process on this machine: 4 images to make, ")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_that_the_next_plan_sees_what_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *words(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["plan", *words(tmp_path, "seed=0,1"), "--no-timing"]) == 0
    printed = capsys.readouterr().out
    assert ": 4 cells, 2 done, 2 to run\n" in printed and "estimate" not in printed


def test_that_one_cell_runs_without_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *SMALL, f"paths.results={tmp_path}"]) == 0
    assert not (tmp_path / "sweeps").exists()
    assert "record: " in capsys.readouterr().out


def test_that_a_worker_by_hand_finishes_the_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *words(tmp_path)]) == 0
    folder = find_sweep(tmp_path, None)
    for record in ResultStore(tmp_path).records():
        (tmp_path / "runs" / f"{record['fingerprint']}.json").unlink()
    capsys.readouterr()
    assert main(["work", folder.id[:9], "--group", "2", f"paths.results={tmp_path}"]) == 0
    assert len(ResultStore(tmp_path).records()) == 2
    assert "2 cells: 2 done" in capsys.readouterr().out


def test_that_a_group_that_does_not_exist_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *words(tmp_path)]) == 0
    assert main(["work", "--group", "9", f"paths.results={tmp_path}"]) == 2
    assert "--group 9 is not one of the 3 groups" in capsys.readouterr().err


def test_that_changed_code_is_named_on_the_next_worker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *words(tmp_path)]) == 0
    folder = find_sweep(tmp_path, None)
    folder.write_plan(folder.plan, {**folder.code, "frbench": "0.0.1"})
    assert main(["work", f"paths.results={tmp_path}"]) == 0
    assert f"since {folder.id} was planned this changed: frbench 0.0.1 -> " in capsys.readouterr().err


def test_that_an_unknown_launcher_gets_a_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *words(tmp_path, "launcher=proceses")]) == 2
    assert "did you mean launcher=processes?" in capsys.readouterr().err
