"""Every training and network option builds; the small ones are those that are compared."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from omegaconf import OmegaConf
from recipes_to_learn import RECIPES

import frbench.conf
from frbench.harness.fingerprints import fingerprint

CONF = Path(frbench.conf.__file__).parent
TRAININGS = sorted(path.stem for path in (CONF / "training").glob("*.yaml"))
NETWORKS = sorted(path.stem for path in (CONF / "network").glob("*.yaml"))


@cache
def composed(*words: str) -> Any:
    with hydra.initialize_config_module("frbench.conf", version_base="1.3"):
        whole = hydra.compose("run", list(words)).training
    return hydra.utils.instantiate(OmegaConf.to_container(whole, resolve=True), _convert_="all")


@pytest.mark.parametrize("name", TRAININGS)
def test_every_training_option_builds_and_is_known_by_its_values(name: str) -> None:
    recipe = composed(f"training={name}")
    assert fingerprint(recipe) == fingerprint(composed(f"training={name}", "training.validation=null"))
    assert fingerprint(recipe) != fingerprint(composed(f"training={name}", "training.schedule.rate=0.013"))
    assert recipe.schedule.weight_decay and recipe.schedule.clip == 5.0 and not recipe.needs_recognizer


def test_the_small_training_options_are_those_that_are_compared() -> None:
    assert {name: type(composed(f"training={name}")).__name__ for name in TRAININGS} == {
        **dict.fromkeys(TRAININGS, "EnsembleRecipe"),
        "advt": "MterRecipe",
    }
    for name, recipe in RECIPES.items():
        made = composed(f"training={name}")
        assert (made.members, made.shared, made.classify) == (recipe.members, recipe.shared, recipe.classify)
        assert {key: type(term) for key, term in made.terms.items()} == {
            key: type(term) for key, term in recipe.terms.items()
        }
    begun, further = composed("training=single"), composed("training=advt")
    assert fingerprint(further.start) == fingerprint(begun), "the single recognizer that is trained anyway"
    assert further.schedule.epochs * 10 == begun.schedule.epochs
    assert fingerprint(begun) != fingerprint(composed("training=single", "training.network.make.width=0.25"))
    assert composed("training=single", "training.network=null").needs_recognizer


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_option_embeds_faces(name: str) -> None:
    network_ = composed("training=single", f"network@training.network={name}").network
    with torch.device("meta"):
        assert network_.make().eval()(torch.zeros(2, 3, 112, 112)).shape in ((2, 128), (2, 512))
    assert fingerprint(network_)
