"""The benchmark of training: the entrants do the work that their names state."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from frbench.harness.recognizers.architectures.tiny import TinyNet

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield importlib.import_module("bench_training")


def test_that_entrants_take_the_same_passes_and_training_alone_moves_the_weights(script: ModuleType) -> None:
    field = script.Field(TinyNet(), argparse.Namespace(steps=1, mixed=False, batch=2, people=3), torch.device("cpu"))
    head = field.learner.head.detach().clone()
    entrants = field.entrants()
    assert [len(each.ends()) for each in entrants[:2]] == [3, 3]
    assert torch.equal(field.learner.head, head)
    assert len(entrants[2].ends()) == 3 and not torch.equal(field.learner.head, head)
    assert all(each.seconds(None) > 0 for each in entrants)


def test_that_the_table_and_the_file_have_a_row_for_each(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--network", "tiny", "--batch", "2", "--steps", "1", "--rounds", "1", "--people", "3"]
    assert script.main([*words, "--out", str(tmp_path / "x.json"), "device=cpu"]) == 0
    out = capsys.readouterr().out
    assert [name in out for name in ("forward and backward", "with head", "training step")] == [True] * 3
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["rows"][0]["share"] == 1 and len(found["rows"]) == 3
    assert script.main(["--batch", "1", "device=cpu"]) == 2
