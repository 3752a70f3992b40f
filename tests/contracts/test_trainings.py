"""What every option in conf/training and conf/network promises: it builds, and it is known by its values."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import frbench.conf
from frbench.harness.config import build
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.recognizers.architecture_metadata import read_architecture
from frbench.harness.recognizers.initialization import Architecture, bare
from frbench.harness.recognizers.weight_files import METADATA

CONF = Path(frbench.conf.__file__).parent
TRAININGS = sorted(path.stem for path in (CONF / "training").glob("*.yaml"))
NETWORKS = sorted(path.stem for path in (CONF / "network").glob("*.yaml"))
LARGE = {"iresnet50"}  # drawn in seconds; iresnet18 differs from it in numbers alone


@pytest.fixture
def training(composed: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    return lambda *words: build.instantiate(composed(*words)["training"], "training")


def test_that_every_promised_training_and_network_is_there() -> None:
    promised = "single naive_ensemble shared_head diverse_separate_heads diverse diverse_residual_cos adp mter"
    assert set(promised.split()) <= set(TRAININGS)
    assert {"mobilefacenet", "tiny", "iresnet18", "iresnet50"} <= set(NETWORKS)


@pytest.mark.parametrize("option", TRAININGS)
def test_that_a_training_is_a_frozen_recipe_known_by_its_values(option: str, training: Callable[..., Any]) -> None:
    recipe, again = training(f"training={option}"), training(f"training={option}")
    assert dataclasses.is_dataclass(recipe)
    assert recipe.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert fingerprint(recipe) == fingerprint(again)
    assert isinstance(recipe.network, Architecture)
    assert not recipe.needs_recognizer
    assert recipe.members in (1, 3)
    changed = dataclasses.replace(recipe, schedule=dataclasses.replace(recipe.schedule, lr=0.5))
    assert fingerprint(changed) != fingerprint(recipe)


def test_that_no_two_trainings_are_the_same(training: Callable[..., Any]) -> None:
    assert len({fingerprint(training(f"training={option}")) for option in TRAININGS}) == len(TRAININGS)


@pytest.mark.parametrize("option", TRAININGS)
def test_that_a_training_may_begin_from_the_recognizer_at_hand(option: str, training: Callable[..., Any]) -> None:
    word = f"training={option}"
    place = "training.start.network" if hasattr(training(word), "start") else "training.network"
    recipe = training(word, f"{place}=null")
    assert recipe.network is None
    assert recipe.needs_recognizer


@pytest.mark.parametrize("option", NETWORKS)
def test_that_a_trained_file_can_name_any_network(option: str, training: Callable[..., Any], tmp_path: Path) -> None:
    recipe = training("training=diverse", f"network@training.network={option}")
    metadata = {METADATA: json.dumps(recipe.metadata(None))}
    save_file({"heads.0": torch.ones(1)}, tmp_path / "file.safetensors", metadata)
    found = read_architecture(tmp_path / "file.safetensors", ())
    assert fingerprint(found) == fingerprint(recipe.network)


@pytest.mark.parametrize("option", [each for each in NETWORKS if each not in LARGE])
def test_that_a_network_is_drawn_from_its_seed_and_embeds_faces(option: str, composed: Callable[..., Any]) -> None:
    config = composed("training=single", f"network@training.network={option}")["training"]["network"]
    network, before = build.instantiate(config, "network"), torch.get_rng_state()
    one, again, other = (network.module(seed).eval() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    images = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        vectors = [each(images) for each in (one, again, other)]
    assert vectors[0].shape[0] == 2 and vectors[0].ndim == 2
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.allclose(vectors[0], vectors[2])
    assert bare(one).state_dict().keys() == one.network.state_dict().keys()
