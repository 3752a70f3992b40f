"""Objects without a state are built once; all others are built for each cell."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from frbench.harness.config import build
from frbench.harness.config.object_memo import remembered

PGD = {"_target_": "frbench.attacks.projected_gradient_descent.ProjectedDescent", "steps": 3}
TINY = {
    "_target_": "frbench.harness.recognizers.torch_recognizer.TorchRecognizer",
    "architecture": {
        "_partial_": True,
        "_target_": "frbench.harness.recognizers.architectures.tiny.TinyNet",
    },
    "weights": "nowhere.safetensors",
}


@dataclass(frozen=True)
class OfSomebodyElse:
    step: int = 1


def test_that_an_equal_config_gives_the_same_attack() -> None:
    assert build.instantiate(PGD, "attack") is build.instantiate(dict(PGD), "attack")
    assert build.instantiate(PGD, "attack") is not build.instantiate(PGD | {"steps": 4}, "attack")


def test_that_a_part_of_somebody_else_is_built_for_each_cell() -> None:
    """It may keep a state."""
    config = {"step": 2}
    first, second = (remembered(config, "attack", lambda: OfSomebodyElse(2)) for _ in range(2))
    assert first == second and first is not second


def test_that_four_recognizers_stay_in_memory() -> None:
    def named(name: str) -> Any:
        return build.instantiate(TINY | {"name": name}, "recognizer")

    first = named("0")
    assert named("0") is first
    for number in range(1, 5):
        named(str(number))
    assert named("0") is not first


@pytest.mark.parametrize("size", [3, 4])
def test_that_a_recognizer_of_a_file_that_changed_is_another_one(size: int, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"abc")
    config = TINY | {"name": "changing", "weights": str(file)}
    before = build.instantiate(config, "recognizer")
    file.write_bytes(b"d" * size)
    os.utime(file, ns=(1, 1))
    assert build.instantiate(config, "recognizer") is not before
