"""What the contract tests share: the shipped configs, composed and built as the command line does it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import zip_longest
from typing import Any

import hydra
import pytest

from frbench.harness.config import build, resolution
from frbench.harness.config.conf_files import known_options

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


# Groups whose options do not change those of another group: one option of each is composed at a time.
TOGETHER = ("attack", "budget", "defense", "goal", "recognizer", "threat")


def rounds() -> dict[str, tuple[str, ...]]:
    """``attack=pgd`` -> the options, one of each group, that it is composed with."""
    options = [[f"{group}={option}" for option in known_options()[group]] for group in TOGETHER]
    found = [tuple(word for word in together if word) for together in zip_longest(*options)]
    return {word: together for together in found for word in together}


@pytest.fixture(scope="session")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """``composed("attack=pgd")``: the resolved config of a run with that option, away from any data."""
    folder, together = tmp_path_factory.mktemp("brought"), rounds()
    for name in ("a.pth", "b.pth"):
        (folder / name).write_text(name)

    @cache
    def compose(*words: str) -> dict[str, Any]:
        asked = [each.format(folder=folder) for word in words if word in GIVEN for each in GIVEN[word].split()]
        with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
            return resolution.plain(hydra.compose("run", [*words, *asked, "paths.data=no_data", "device=cpu"]))

    return lambda *words: compose(*together.get(words[0], words)) if len(words) == 1 else compose(*words)


@pytest.fixture(scope="session")
def made(composed: Callable[..., dict[str, Any]]) -> Callable[[str, str], Any]:
    """``made("attack", "pgd")``: the object of that option, built anew."""
    return lambda group, option: build.instantiate(composed(f"{group}={option}")[group], group)
