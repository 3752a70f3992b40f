"""A batch system sends a signal before it kills a job: the run stops at a border, and the same command continues it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from frbench.harness.cli.main import main

MODULE = """
import os, signal
from dataclasses import dataclass
from pathlib import Path
from frbench.attacks.projected_gradient_descent import ProjectedDescent

ONCE = Path(__file__).parent / "sent"


@dataclass(frozen=True)
class Signalled(ProjectedDescent):
    identity = "attack.signalled"

    def __call__(self, view, batch, goal, budget):
        if not ONCE.exists():
            ONCE.touch()
            os.kill(os.getpid(), signal.SIGUSR2)
        return super().__call__(view, batch, goal, budget)
"""
SMALL = ["dataset.people=30", "dataset.photos_per_person=2", "dataset.pairs=60", "dataset.limit=20"]
QUICK = ["~protocol.postprocessing", "protocol.bootstrap=20", "protocol.num_samples=0", "device=cpu"]


def test_a_signal_stops_the_sweep_and_the_same_command_finishes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "signalled.py").write_text(MODULE)
    (tmp_path / "conf" / "attack").mkdir(parents=True)
    (tmp_path / "conf" / "attack" / "signalled.yaml").write_text("_target_: signalled.Signalled\nsteps: 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = [f"--config-dir={tmp_path / 'conf'}", "trust=[signalled]"]
    words = ["run", "-m", *own, "attack=signalled,fgsm", *SMALL, *QUICK, "allow_low_accuracy=true"]
    words.append(f"paths.results={tmp_path / 'results'}")

    assert main(words) == 75
    error = capfd.readouterr().err.splitlines()
    assert error[0].startswith("frbench: received SIGUSR2: finishing the current block")
    assert error[-1].startswith("frbench: stopped (received SIGUSR2)")
    assert not list((tmp_path / "results" / "runs").glob("*.json")), "an interrupted cell is no crash"

    assert main(words) == 0
    records = [json.loads(path.read_text()) for path in (tmp_path / "results" / "runs").glob("*.json")]
    made = {record["names"]["attack"]: record["card"]["attack_generated"] for record in records}
    assert made == {"signalled": False, "fgsm": True}, "the block of the interrupted cell was kept"
