"""A sweep of 24 cells on rendered faces for tests of launchers. One cell crashes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from frbench.harness.cli.main import main
from frbench.harness.sweeps.sweep_folder import SweepFolder, sweep_folders

SECONDS = "CLUSTER_PARTS_SECONDS"  # how long the attack waits, so that a test has the time to disturb its jobs

MODULE = f"""\
import os
import time
from dataclasses import dataclass
from typing import Annotated
import torch
from annotated_types import Interval
from frbench.harness.core.contracts import AttackResult


@dataclass(frozen=True)
class Shift:
    by: Annotated[float, Interval(ge=0, le=1)] = 0.1
    needs_gradient = False
    bounded = True
    stops_early = False
    batch_dependent = False

    def __call__(self, view, pairs, goal, budget):
        if self.by == 1:
            raise RuntimeError("broken on purpose")
        time.sleep(float(os.environ.get("{SECONDS}", 0)))
        images = budget.project(pairs.probe + self.by, pairs.probe)
        scores = view.score(images, view.enroll(pairs))
        return AttackResult(images, goal.achieved(scores, view.aim(goal, pairs.index)), torch.ones(len(pairs)).long())
"""
ATTACK = """\
# Brightens the image.
# Paper: none; for a test.
_target_: cluster_parts.Shift
by: 0.1
"""
EXPERIMENT = """\
# @package _global_
# 24 cells, one of which crashes.
trust: [cluster_parts]
dataset: {people: 30, photos_per_person: 4, pairs: 80, limit: 20}
recognizer: {min_clean_accuracy: null}
protocol: {bootstrap: 20, postprocessing: null}
budget: {radius: 0.25}
device: cpu
grids:
  - attack: shift
    attack.by: 0.02,0.03,0.04,0.05,0.06,0.07,0.08,0.09,0.10,0.11,0.12
    defense: none,blur
  - attack: none
  - attack: shift
    attack.by: "1.0"
"""


def own_parts(folder: Path) -> Path:
    """``folder`` with the module, to be set as PYTHONPATH, and the options of the sweep, as --config-dir."""
    for name, text in (
        ("cluster_parts.py", MODULE),
        ("attack/shift.yaml", ATTACK),
        ("experiment/cluster.yaml", EXPERIMENT),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def run_sweep(parts: Path, results: Path, *words: str) -> int:
    """The exit code of ``frbench run`` of the sweep, in this process."""
    with redirect_stdout(StringIO()):
        return main(["run", f"--config-dir={parts}", "experiment=cluster", f"paths.results={results}", *words])


def status(results: Path) -> tuple[int, str]:
    """The exit code and the output of ``frbench status``."""
    with redirect_stdout(StringIO()) as out:
        return main(["status", f"paths.results={results}"]), out.getvalue()


def tables(results: Path) -> dict[str, bytes]:
    """The tables of ``frbench report``, by name."""
    with redirect_stdout(StringIO()):
        assert main(["report", "timing=false", f"paths.results={results}"]) == 0
    folder = results / "tables"
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def the_sweep(results: Path) -> SweepFolder:
    (folder,) = sweep_folders(results)
    return folder


def beating(results: Path, jobs: Sequence[str]) -> dict[str, int]:
    """Job -> process of its worker, of those of ``jobs`` that evaluate a cell."""
    beats = the_sweep(results).workers().values()
    return {
        beat["job"]: beat["pid"]
        for beat in beats
        if beat["job"] in jobs and beat["cell"] and beat["state"] == "running"
    }
