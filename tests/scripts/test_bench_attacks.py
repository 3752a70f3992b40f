"""The benchmark of attacks: common pairs, a common judge, and memory measured in a subprocess."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from frbench.defenses.input_transforms.blur import BlurDefense
from frbench.harness.core.face_data import PairBatch
from frbench.harness.recognizers.architectures.tiny import TinyNet
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer
from frbench.harness.threat_model.goals import Dodging

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield importlib.import_module("bench_attacks")


@pytest.fixture(scope="module")
def races(script: ModuleType) -> dict:
    tiny = TorchRecognizer("tiny", TinyNet, "pkg:tiny.safetensors", mean=0.5, std=0.5)
    return script.races(tiny, BlurDefense(sigma=1.0))


@pytest.fixture(scope="module")
def work(script: ModuleType) -> Sequence:
    first, second = torch.rand(2, 3, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    index = torch.arange(3)
    pairs = PairBatch(0.7 * first + 0.1, first, second, torch.ones(3, dtype=torch.bool), index, index)
    return [sys.modules["bench_peers"].Task("dodging", Dodging(), pairs)]


def test_that_pgd_to_success_wins_what_the_library_wins_in_less_time(
    script: ModuleType, races: dict, work: Sequence
) -> None:
    pytest.importorskip("torchattacks")
    found = script.run_race(races["pgd"], work, rounds=1)
    ours, theirs = found["rows"][:2]
    assert ours["goals"]["dodging"]["asr"] == theirs["goals"]["dodging"]["asr"] == 1
    assert ours["times"] == 1 < theirs["times"]
    assert np.shape(found["seconds"]) == (1, 2)


def test_that_cw_is_judged_by_the_images_that_it_made(script: ModuleType, races: dict, work: Sequence) -> None:
    race = races["cw"]
    images = race.entrants[0].images(work[0])
    found = script.judged(race, work[0], images)
    assert bool(found["success"].all())
    wanted = (images - work[0].pairs.probe).flatten(1).norm(dim=1)
    assert found["l2"] == pytest.approx(wanted.numpy())
    failed = script.judged(race, work[0], work[0].pairs.probe)
    assert not failed["success"].any()
    assert np.isinf(failed["l2"]).all()


def test_that_the_table_has_a_line_for_each_entrant(script: ModuleType, races: dict, work: Sequence) -> None:
    race = script.Race("cw", "CW", races["cw"].judge, races["cw"].entrants[:1])
    found = script.run_race(race, work, rounds=1)
    found["rows"][0]["peak_mib"] = 12.0
    setup = {"recognizer": "tiny", "dataset": "noise", "pairs": 3, "rounds": 1}
    text = script.markdown({"setup": setup, "machine": script.machine(), "races": [found]})
    assert "| frbench CW | prepared |" in text
    assert "| 12 | 100.0 % of 3," in text
