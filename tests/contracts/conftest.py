"""What the contract tests share: the shipped configs, composed and built as the command line does it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import hydra
import pytest

from frbench.harness.config import build

# What has no default, because only the user can know it.
GIVEN = {
    "recognizer=onnx": "recognizer.path=mine.onnx",
    "recognizer=insightface": "recognizer.pack=mine",
    "recognizer=trained": "recognizer.weights=mine.safetensors",
    "defense=trained_ensemble": "defense.weights=pkg:tiny_diverse.safetensors",
    "recognizer=pytorch": "recognizer.weights=mine.pth "
    "recognizer.architecture._target_=frbench.harness.recognizers.architectures.tiny.TinyNet",
    "recognizer=torchscript": "recognizer.weights=mine.pt",
    "attack=lowkey": "attack.perceptual_distance.trunk={folder}/a.pth "
    "attack.perceptual_distance.lins={folder}/b.pth",  # known by their bytes
}


@pytest.fixture(scope="session")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """``composed("attack=pgd")``: the resolved config of that run, away from any data."""
    folder = tmp_path_factory.mktemp("brought")
    for name in ("a.pth", "b.pth"):
        (folder / name).write_text(name)

    @cache
    def compose(*words: str) -> dict[str, Any]:
        asked = [each.format(folder=folder) for word in words if word in GIVEN for each in GIVEN[word].split()]
        with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
            return build.plain(hydra.compose("run", [*words, *asked, "paths.data=no_data", "device=cpu"]))

    return compose


@pytest.fixture(scope="session")
def made(composed: Callable[..., dict[str, Any]]) -> Callable[[str, str], Any]:
    """``made("attack", "pgd")``: the object of that option, built anew."""
    return lambda group, option: build.instantiate(composed(f"{group}={option}")[group], group)
