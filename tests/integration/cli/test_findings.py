"""Finding 8 of ``test_findings.py``: the benchmark runs, from the command line to the report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from frbench.harness.cli.main import main
from frbench.harness.storage.result_store import ResultStore

OWN_RECOGNIZER = """
from dataclasses import dataclass
import torch

@dataclass(frozen=True)
class Mine:
    name: str = "mine"
    differentiable: bool = True
    digest: str = "mine"

    def embed(self, images):
        return torch.nn.functional.normalize(torch.nn.functional.avg_pool2d(images - 0.5, 8).flatten(1))
"""


@pytest.fixture
def people_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a run needs to be small: thirty rendered people, and a recognizer from outside the repository."""
    (tmp_path / "own" / "recognizer").mkdir(parents=True)
    (tmp_path / "own" / "recognizer" / "mine.yaml").write_text("_target_: own_recognizer.Mine\n")
    (tmp_path / "own" / "own_recognizer.py").write_text(OWN_RECOGNIZER)
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)
    words = [
        "recognizer=mine",
        "trust=[own_recognizer]",
        "dataset.people=30",
        "dataset.photos_per_person=2",
        "dataset.pairs=20",
    ]
    return [f"--config-dir={tmp_path / 'own'}", *words, "paths.results=results", "device=cpu"]


@pytest.mark.usefixtures("coarse_figures")
def test_it_runs_from_one_end_to_the_other_and_what_is_asked_for_is_what_is_done(
    people_of_ones_own: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Elsewhere modules are missing, and a command line takes an epsilon that never reaches the attack."""
    sweep = ["attack=bim", "attack.steps=3", "budget=linf_1,linf_8", "defense=none,blur"]
    assert main(["run", "-m", *people_of_ones_own, *sweep]) == 0
    told = capsys.readouterr().out
    assert len([line for line in told.splitlines() if " clean " in line and " ASR " in line]) == 4
    records = ResultStore(tmp_path / "results").records()
    assert [record["status"] for record in records] == ["done"] * 4
    for record in records:
        level = {"linf_1": 1, "linf_8": 8}[record["names"]["budget"]]
        assert record["measurements"]["attack"]["linf"]["max"] == pytest.approx(level, abs=1e-3)
        assert record["settings"]["attack.steps"] == 3
        table = ResultStore(tmp_path / "results").scores(record["fingerprint"])
        assert table is not None
        assert set(table["iterations"]) == {3}
    generated = [record["card"]["attack_generated"] for record in records]
    assert sorted(generated) == [False, False, True, True], "each budget's images are made once for both defenses"

    assert main(["report", "paths.results=results", "format=json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(line["budget"], line["defense"]) for line in lines} == {
        (budget, defense) for budget in ("linf_1", "linf_8") for defense in ("none", "blur")
    }
    assert main(["report", "paths.results=results"]) == 0
    written = [path for kind in ("tables", "figures") for path in (tmp_path / "results" / kind).rglob("*.*")]
    assert {path.suffix for path in written} >= {".csv", ".md", ".tex", ".png"}
    assert all(path.stat().st_size for path in written)


def test_every_verb_answers_in_a_process_of_its_own(tmp_path: Path) -> None:
    for words in (["--help"], ["options"], ["--version"]):
        command = [sys.executable, "-m", "frbench.harness.cli.main", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout
        assert not done.stderr
