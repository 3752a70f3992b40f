"""Parts of one's own from Python: options of an own folder, crashes in a sweep, programs with their own Hydra."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.python_cells import FACES, folders

from frbench.harness import api
from frbench.harness.cli.main import main
from frbench.harness.core.errors import ConfigError

MODULE = """
from dataclasses import dataclass
import torch
from frbench.harness.core.contracts import Attack, AttackResult


@dataclass(frozen=True)
class Brighten(Attack):
    by: float = 0.1

    def __call__(self, view, pairs, goal, budget):
        if self.by > 0.5:
            raise RuntimeError("too bright")
        images = budget.project(pairs.probe + self.by, pairs.probe)
        achieved = goal.achieved(view.score(images, view.enroll(pairs)), view.aim(goal, pairs.index))
        return AttackResult(images, achieved, torch.ones(len(pairs), dtype=torch.int64))
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an option of one's own, whose module can be imported."""
    (tmp_path / "my_parts.py").write_text(MODULE)
    (tmp_path / "conf" / "attack").mkdir(parents=True)
    (tmp_path / "conf" / "attack" / "brighten.yaml").write_text("_target_: my_parts.Brighten\nby: 0.2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "conf"
    sys.modules.pop("my_parts", None)


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    quick = api.protocol("verification", bootstrap=20, num_samples=0, **{"~postprocessing": None})
    cell = {"dataset": api.dataset("synthetic", **FACES), "protocol": quick}
    return {**cell, "recognizer": api.recognizer("tiny", min_clean_accuracy=None), **folders(tmp_path_factory, "own")}


def test_that_an_own_option_is_evaluated_and_found_by_the_command_line(
    own: Path, run: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    brighten = api.attack("brighten", config_dir=own, by=0.3)
    with pytest.raises(ConfigError, match=r"add trust=\[my_parts\]"):
        api.evaluate(attack=brighten, **run)
    result = api.evaluate(attack=brighten, trust=["my_parts"], **run)
    assert result.record["names"]["attack"] == "brighten" and result.record["settings"]["attack.by"] == 0.3
    assert main(shlex.split(result.command)[1:]) == 0 and "(found)" in capfd.readouterr().out


def test_that_a_crashed_cell_is_counted_and_does_not_stop_a_sweep(own: Path, run: dict[str, Any]) -> None:
    lists = {"attack": [api.attack("brighten", config_dir=own, by=by) for by in (0.7, 0.1)], "trust": ["my_parts"]}
    found = api.sweep(**lists, **run)
    assert found.table["status"].tolist() == ["crashed", "done"]
    ((command, message),) = found.errors.items()
    assert "attack.by=0.7" in command and message == "RuntimeError: too bright"


def test_that_an_object_is_refused_by_evaluate_with_the_yaml_to_write(own: Path) -> None:
    import my_parts  # type: ignore[import-not-found]

    with pytest.raises(ConfigError, match=r"_target_: my_parts.Brighten.*my_conf/attack/brighten.yaml.*\['my_parts'\]"):
        api.evaluate(attack=my_parts.Brighten())


PROGRAM = """
from dataclasses import dataclass
import hydra, torch
from hydra.core.hydra_config import HydraConfig
from frbench.harness import api
from frbench.harness.core.contracts import Attack, AttackResult


@dataclass(frozen=True)
class Gray(Attack):
    def __call__(self, view, pairs, goal, budget):
        images = pairs.probe.mean(dim=1, keepdim=True).expand_as(pairs.probe)
        return AttackResult(images, torch.zeros(len(pairs), dtype=torch.bool), torch.zeros(len(pairs)).long())


@hydra.main(version_base="1.3", config_path=None)
def program(cfg):
    images = torch.rand(2, 3, 112, 112)
    crafted = api.craft(Gray(), "tiny", images, images, device="cpu")
    print(tuple(crafted.images.shape), HydraConfig.get().job.name == "app")


program()
"""


def test_that_a_program_with_its_own_hydra_attacks_with_a_class_of_its_script(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(PROGRAM)
    words = [sys.executable, "app.py", "hydra.run.dir=.", "hydra.output_subdir=null"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "(2, 3, 112, 112) True\n", done.stderr
