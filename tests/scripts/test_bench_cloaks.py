"""The benchmark of cloaks: both implementations make the same images, and the table has a row for each."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from frbench.attacks.fawkes import rescheduled
from frbench.harness.recognizers.architectures.tiny import TinyNet
from frbench.harness.recognizers.torch_recognizer import TorchRecognizer

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TINY = TorchRecognizer("tiny", TinyNet, "pkg:tiny.safetensors", mean=0.5, std=0.5)


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield importlib.import_module("bench_cloaks")


def test_that_both_ways_of_cloaking_make_the_same_images(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The original's way is written out apart from ours, and starts from the same noise.

    The first slopes are of distances of 1e-8, and the kick follows their signs: so much is left to rounding.
    """
    monkeypatch.setitem(script.MODES, "low", replace(script.MODES["low"], steps=6))
    coarse = torch.rand(2, 3, 14, 14, generator=torch.Generator().manual_seed(0))
    photos = 0.2 + 0.6 * torch.nn.functional.interpolate(coarse, size=(112, 112), mode="bicubic").clamp(0, 1)
    ours, shipped, prepared = (entrant.make(photos) for entrant in script.field(TINY, "low")[:3])
    assert float((ours - photos).abs().max()) > 10 / 255
    for other in (shipped, prepared):
        assert float((ours - other).abs().mean()) < 0.15 * float((ours - photos).abs().mean())


@pytest.mark.parametrize("seed", range(3))
def test_that_the_schedule_of_one_image_is_that_of_many(script: ModuleType, seed: int) -> None:
    shares = torch.rand(40, generator=torch.Generator().manual_seed(seed)) * 2
    weight, course, one, way = torch.ones(1), torch.ones(1), 1.0, 1
    for share in shares:
        weight, course = rescheduled(share[None], 1.0, weight, course)
        one, way = script.scheduled(float(share), one, way)
        assert (float(weight), int(course)) == (one, way)


def test_that_it_runs_and_writes_what_it_found(
    script: ModuleType,
    pair_set: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(script, "MODES", {name: replace(each, steps=2) for name, each in script.MODES.items()})
    monkeypatch.setattr(script, "in_subprocess", lambda *_: 12.0)
    monkeypatch.setattr(script, "load_subjects", lambda _: (TINY, pair_set(10, 112)))
    out = tmp_path / "bench.json"
    words = ["--rounds", "1", "--low", "2", "--high", "1", "--out", str(out)]
    assert script.main(words) == 0
    found = json.loads(out.read_text())
    assert [row["images"] for row in found["rows"]] == [2] * 4 + [1] * 4
    assert [row["mib_an_image"] for row in found["rows"]] == [6.0, 12.0, 12.0, 6.0] + [12.0] * 4
    assert [bar["met"] for bar in found["bars"]] == [bar["times"] >= 8 for bar in found["bars"]]
    assert all(row["times"] > 0 and np.isfinite(row["seconds_an_image"]) for row in found["rows"])
    text = capsys.readouterr().out
    assert "| the original's way | as shipped | 2 |" in text
    assert "| bare passes | prepared | 1 |" in text
    assert "at least 8" in text
