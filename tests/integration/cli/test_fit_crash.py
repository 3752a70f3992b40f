"""A defense whose fitting crashes is a crashed cell of its sweep, and a rerun tries again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from frbench.harness.cli.main import main

MODULE = """
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
import torch

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Recipe:
    needs_recognizer = False

    def fit(self, context):
        (FOLDER / "fits").open("a").write("x")
        if (FOLDER / "out_of_memory").exists():
            raise RuntimeError("no memory left to fit")
        return {"mean": context.faces.load([0]).mean(dim=0)}


@dataclass(frozen=True)
class Learned:
    faces: Any = field(compare=False)
    recipe: Any = Recipe()
    artifact: Any = None

    def fitted(self, artifact):
        return replace(self, artifact=artifact)

    def protect(self, verifier):
        assert self.artifact.tensors
        return verifier

    def relaxations(self, verifier):
        return {"exact": verifier}
"""
SMALL = ["dataset.people=30", "dataset.photos_per_person=2", "dataset.pairs=60", "dataset.limit=20"]

FACES = ["identities=synthetic", "identities.people=3", "identities.photos_per_person=2"]
QUICK = [
    "~protocol.postprocessing",
    "protocol.bootstrap=20",
    "protocol.num_samples=0",
    "device=cpu",
    "attack=fgsm",
    "allow_low_accuracy=true",
]

Run = Callable[..., tuple[int, dict[str, dict[str, Any]]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs no defense and the own one; the exit code and the records by the name of the defense."""
    (tmp_path / "my_defense.py").write_text(MODULE)
    (tmp_path / "conf" / "defense").mkdir(parents=True)
    (tmp_path / "conf" / "defense" / "learned.yaml").write_text("_target_: my_defense.Learned\nfaces: ${identities}\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def go(*words: str) -> tuple[int, dict[str, dict[str, Any]]]:
        own = [f"--config-dir={tmp_path / 'conf'}", "trust=[my_defense]"]
        code = main(
            [
                "run",
                "-m",
                *own,
                "defense=learned,none",
                *SMALL,
                *FACES,
                *QUICK,
                f"paths.results={tmp_path / 'results'}",
                *words,
            ]
        )
        records = [json.loads(path.read_text()) for path in (tmp_path / "results" / "runs").glob("*.json")]
        return code, {record["names"]["defense"]: record for record in records}

    yield go
    sys.modules.pop("my_defense", None)


def test_that_a_crash_while_fitting_is_recorded_and_tried_again(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out_of_memory").touch()
    code, first = run()
    assert code == 1 and first["none"]["status"] == "done"
    assert first["learned"]["status"] == "crashed" and "no memory left to fit" in first["learned"]["reason"]
    (tmp_path / "out_of_memory").unlink()
    code, second = run()
    assert code == 0 and second["learned"]["status"] == "done"
    assert second["learned"]["fingerprint"] == first["learned"]["fingerprint"]
    assert second["learned"]["card"]["digests"]["artifact"]


def test_that_a_finished_cell_needs_no_artifact(run: Run, tmp_path: Path) -> None:
    run()
    for artifact in (tmp_path / "results" / "artifacts").iterdir():
        artifact.unlink()
    code, _ = run()
    assert code == 0 and (tmp_path / "fits").read_text() == "x"
