"""``scripts/ship_demo.py``: the shipped weights come from the recipes of ``frbench fit``."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hydra import compose, initialize_config_module
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from frbench.datasets.synthetic.dataset import Synthetic
from frbench.harness.config import build, resolution
from frbench.harness.recognizers.architecture_metadata import architecture_config
from frbench.harness.recognizers.architectures.tiny import TinyNet
from frbench.harness.recognizers.initialization import Architecture, member_names
from frbench.harness.recognizers.weight_files import METADATA

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
BRIEF = [
    *("identities=synthetic", "identities.people=10", "identities.photos_per_person=4"),
    *("dataset.people=30", "dataset.photos_per_person=2", "dataset.pairs=40"),
    *("training.schedule.epochs=1", "training.schedule.batch_size=20", "device=cpu"),
]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("ship_demo")


def test_that_an_ensemble_is_shipped_halved_and_measured_as_it_is_shipped(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = Synthetic(name="few", people=30, photos_per_person=2, pairs=40, people_seed=4).open(tmp_path)
    script.ship("three", ["training=shared_head"], tmp_path, [*BRIEF, f"paths.results={tmp_path}"], pairs)
    weights = load_file(tmp_path / "three.safetensors")
    assert len(member_names(weights)) == 3
    assert {each.dtype for each in weights.values() if each.is_floating_point()} == {torch.float16}
    assert not [name for name in weights if not name.startswith("members.")]
    with safe_open(tmp_path / "three.safetensors", framework="pt") as file:
        facts = file.metadata()
    assert facts["trained_by"] == "scripts/ship_demo.py"
    assert "training=shared_head" in facts["words"]
    assert str(tmp_path) not in facts["words"]
    assert float(facts["validation_accuracy_per_cent"]) == pytest.approx(script.accuracy(weights, pairs), abs=0.01)


def test_that_a_shipped_member_is_a_recognizer(script: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(0)
    nets = [TinyNet().eval() for _ in range(2)]
    states = {f"members.{k}.{name}": each for k, net in enumerate(nets) for name, each in net.state_dict().items()}
    architecture = architecture_config(Architecture(TinyNet, mean=0.5, std=0.5))
    metadata = {METADATA: json.dumps({"architecture": architecture})}
    save_file(script.halved(states | {"head.rows": torch.zeros(3, 4)}), tmp_path / "two.safetensors", metadata)
    words = ["recognizer=trained", "recognizer.member=1", "device=cpu"]
    with initialize_config_module("frbench.conf", version_base="1.3"):
        config = resolution.plain(compose("run", [*words, f"recognizer.weights={tmp_path / 'two.safetensors'}"]))
    member, images = build.instantiate(config["recognizer"], "recognizer"), torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        own = torch.nn.functional.normalize(nets[1](images * 2 - 1))
        torch.testing.assert_close(member.embed(images), own, atol=5e-3, rtol=0)
