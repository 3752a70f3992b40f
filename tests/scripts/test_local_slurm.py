"""The Slurm of scripts/local_slurm.py: it starts with idle nodes, runs jobs, and leaves nothing behind."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield importlib.import_module("local_slurm")


def processes_that_name(folder: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder) in command:
            found.append(command)
    return found


def test_that_a_missing_program_is_an_error_that_names_the_packages(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "search_path", lambda: str(tmp_path))
    assert script.main(["up", "--folder", str(tmp_path / "slurm")]) == 2
    assert "slurmctld" in (told := capsys.readouterr().err) and script.INSTALL in told and told.count("\n") == 1
    assert not (tmp_path / "slurm").exists()


def test_that_a_folder_of_somebody_else_is_neither_used_nor_deleted(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").touch()
    monkeypatch.setattr(script, "check_programs", lambda: None)
    assert script.main(["up", "--folder", str(tmp_path)]) == 2
    assert script.main(["down", "--folder", str(tmp_path)]) == 2
    assert "has no slurm.conf" in capsys.readouterr().err and (tmp_path / "thesis.tex").is_file()


@pytest.mark.slurm
def test_that_it_starts_with_idle_nodes_runs_a_job_and_stops_everything(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not shutil.which("slurmctld", path=script.search_path()):
        pytest.skip(f"Slurm is not installed; {script.INSTALL}")
    folder = tmp_path / "slurm"
    try:
        assert script.main(["up", "--folder", str(folder), "--max-array-size", "7"]) == 0
        assert capsys.readouterr().out == f"export SLURM_CONF={folder / 'slurm.conf'}\n"
        assert script.node_states(folder) == ["idle", "idle"]
        assert any(
            line.split() == ["MaxArraySize", "=", "7"] for line in script.ask(folder, "scontrol", "show", "config")
        )
        command = ["sbatch", "--wait", "--output", str(tmp_path / "out"), "--wrap", "srun printenv SLURMD_NODENAME"]
        environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        subprocess.run(command, check=True, env=environment, timeout=60, capture_output=True)
        assert (tmp_path / "out").read_text() == "n1\n"
        subprocess.run(["sbatch", "--wrap", "sleep 600"], check=True, env=environment, timeout=60, capture_output=True)
    finally:
        assert script.main(["down", "--folder", str(folder)]) == 0
    assert not processes_that_name(folder) and not folder.exists()
