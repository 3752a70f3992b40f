"""A recognizer whose preprocessing is not known: the usual ones are tried on clean pairs, the best is written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frbench.datasets.synthetic.dataset import Synthetic
from frbench.harness.cli.main import main
from frbench.harness.config.auto_preprocessing import places, without
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import PairSet
from frbench.harness.evaluation.preprocessing_search import CANDIDATES, IDENTITY, sample, search
from frbench.harness.recognizers.architectures.tiny import TinyNet
from frbench.harness.recognizers.preprocessing import Preprocessing
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer

SMALL = (
    "dataset.people=30",
    "dataset.photos_per_person=4",
    "dataset.pairs=100",
    "dataset.limit=20",
    "attack=none",
    "device=cpu",
)


@pytest.fixture(scope="module")
def pairs(image_cache: Path) -> PairSet:
    return Synthetic(people=30, photos_per_person=4, pairs=100).open(image_cache)


class Inside(torch.nn.Module):
    """The tiny network with the undoing of a usual preprocessing before it, as exporters leave scaling inside."""

    def __init__(self, number: int) -> None:
        super().__init__()
        tiny = TorchRecognizer("tiny", TinyNet, "pkg:tiny.safetensors")
        self.network, self.way = tiny.as_shipped(), CANDIDATES[number]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, std = (torch.tensor(self.way[name]).view(-1, 1, 1) for name in ("mean", "std"))
        images = ((x.flip(1) if self.way["bgr"] else x) * std + mean) / self.way["scale"]
        return self.network(images * 2 - 1)


@pytest.mark.parametrize("number", [1, 4, 6, 11])
@pytest.mark.filterwarnings("ignore:Inside is used unfolded")
def test_that_the_way_that_a_network_was_trained_for_is_found(number: int, pairs: PairSet) -> None:
    unfed = TorchRecognizer("inside", lambda: Inside(number), None, **IDENTITY)
    best, *others = search(unfed, pairs, 64, torch.device("cpu"))
    assert best.preprocessing == CANDIDATES[number]
    assert best.accuracy >= 0.97 and best.pairs == 100
    assert len(others) == len(CANDIDATES) - 1
    assert min(trial.separation for trial in others) < best.separation / 2


def test_that_the_trial_feeds_as_the_plain_fields_do(pairs: PairSet) -> None:
    images = pairs.load(np.arange(3))
    unfed = TorchRecognizer("tiny", TinyNet, "pkg:tiny.safetensors", **IDENTITY)
    for way in CANDIDATES:
        fed = TorchRecognizer("tiny", TinyNet, "pkg:tiny.safetensors", **way)
        assert torch.allclose(unfed.embed(Preprocessing(**way)(images)), fed.embed(images), atol=1e-4)


def test_that_the_pairs_are_half_genuine_spread_over_the_set_and_each_taken_once(pairs: PairSet) -> None:
    chosen = sample(pairs, 60)
    assert len(set(chosen)) == 60 and pairs.same[chosen].sum() == 30
    assert set(pairs.fold[chosen]) == set(range(10))
    few = sample(pairs, 100_000)
    assert len(set(few)) == len(few) == 2 * min(pairs.same.sum(), (~pairs.same).sum())


def record(results: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    assert main(["run", *words, *SMALL, f"paths.results={results}"]) == 0
    found = sorted((results / "runs").glob("*.json"), key=lambda path: path.stat().st_mtime)
    return json.loads(found[-1].read_text()), capsys.readouterr().err


def test_that_a_run_writes_down_what_it_found_and_a_rerun_with_these_fields_is_the_same_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tiny recognizer, given the preprocessing of another one."""
    wrong = ["recognizer.mean=0", "recognizer.std=1", "recognizer.scale=255"]
    found, said = record(tmp_path, ["recognizer.preprocessing=auto", *wrong], capsys)
    right = {"recognizer.mean": 127.5, "recognizer.std": 127.5, "recognizer.scale": 255}
    assert found["settings"].items() >= right.items() and "recognizer.preprocessing" not in found["settings"]
    assert found["card"]["config"]["recognizer"]["mean"] == 127.5
    assert "preprocessing_tuned" in found["flags"]
    assert found["measurements"]["clean"]["accuracy"] > 0.95
    tried = found["card"]["preprocessing"]["recognizer"]
    assert tried["trials"][0]["preprocessing"] == {**CANDIDATES[0]}
    assert len(tried["trials"]) == len(CANDIDATES)
    words = "recognizer.mean=127.5 recognizer.std=127.5 recognizer.scale=255 recognizer.bgr=false"
    assert words in said and said.count("auto tried 12 kinds of preprocessing on clean pairs of synthetic") == 1
    again, _ = record(tmp_path, words.split(), capsys)
    assert again["fingerprint"] == found["fingerprint"]


def test_that_a_surrogate_and_a_member_are_found_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["threat=transfer", "recognizer@threat.surrogate=tiny", "threat.surrogate.preprocessing=auto"]
    found, said = record(tmp_path, [*words, "threat.surrogate.mean=0"], capsys)
    assert found["settings"]["threat.surrogate.mean"] == 127.5
    assert "threat.surrogate.preprocessing=auto tried" in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "recognizer.preprocessing=usual"], "recognizer.preprocessing must be auto, got usual"),
        (["run", "recognizer.preprocessing=auto", "attack=pgd", "attack.steps=none"], "attack.steps=none"),
        (
            ["fit", "defense=pca", "recognizer.preprocessing=auto"],
            "recognizer.preprocessing=auto works in frbench run only",
        ),
        (["serve", "recognizer.preprocessing=auto"], "recognizer.preprocessing=auto works in frbench run only"),
        (["run", "recognizer=service", "recognizer.preprocessing=auto"], "the service prepares pictures for its own"),
    ],
)
def test_that_what_cannot_be_found_is_refused_before_any_work(
    words: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, f"paths.results={tmp_path}"]) == 2
    said = capsys.readouterr().err
    assert expected in said and len(said.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_that_only_recognizers_have_the_field() -> None:
    tree = {"a": {"_target_": "x", "preprocessing": "auto"}, "b": {"preprocessing": "auto"}, "c": [{"_target_": "y"}]}
    assert list(places(tree)) == ["a"]
    assert without(tree) == {"a": {"_target_": "x"}, "b": {"preprocessing": "auto"}, "c": [{"_target_": "y"}]}
    with pytest.raises(FrbenchError, match="must be auto"):
        list(places({"r": {"_target_": "x", "preprocessing": "best"}}))
