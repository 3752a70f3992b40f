"""People's own parts live outside the repository: a folder of YAML and an importable module are all they need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
from dataclasses import dataclass
import torch
from frbench.harness.contracts import AttackResult

@dataclass(frozen=True)
class Brighten:
    by: float = 0.1
    needs_gradient = False
    bounded = True
    stops_early = False
    batch_dependent = False

    def __call__(self, view, pairs, goal, budget):
        images = budget.project(pairs.probe + self.by, pairs.probe)
        scores = view.score(images, view.enroll(pairs))
        count = torch.ones(len(pairs), dtype=torch.int64)
        return AttackResult(images, goal.achieved(scores, view.aim(goal, pairs.index)), count)
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "my_parts.py").write_text(MODULE)
    (tmp_path / "conf" / "attack").mkdir(parents=True)
    (tmp_path / "conf" / "attack" / "brighten.yaml").write_text("_target_: my_parts.Brighten\nby: 0.2\n")
    return tmp_path


def run(own: Path, cache: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(own), "FRBENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    small = ["dataset.people=30", "dataset.shots=2", "dataset.pairs=60", "dataset.limit=20", "recognizer.floor=null"]
    command = [sys.executable, "-m", "frbench.harness.cli", "run", f"--config-dir={own / 'conf'}", "attack=brighten"]
    command += [*small, f"paths.results={own / 'results'}", "device=cpu", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)


def test_an_attack_of_ones_own_runs_when_its_package_is_trusted_and_only_then(
    own: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    refused = run(own, cache)
    assert refused.returncode == 2
    assert "my_parts.Brighten" in refused.stderr and "trust=[my_parts]" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    trusted = run(own, cache, "trust=[my_parts]")
    assert trusted.returncode == 0, trusted.stderr
    assert "brighten" in trusted.stdout and "ASR" in trusted.stdout
