"""Every training and network option builds; the small ones are those that are compared."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from omegaconf import OmegaConf
from support.toy_recipes import RECIPES

import frbench.conf
from frbench.harness.config.checks import check_fields
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.training.losses.adp import Adp
from frbench.harness.training.losses.diversity import Diversity
from frbench.harness.training.losses.margins import ArcFace
from frbench.harness.training.losses.mter import Search

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
    assert fingerprint(recipe) != fingerprint(composed(f"training={name}", "training.schedule.lr=0.013"))
    assert recipe.schedule.weight_decay and recipe.schedule.grad_clip_norm == 5.0 and not recipe.needs_recognizer


def test_the_small_training_options_are_those_that_are_compared() -> None:
    assert {name: type(composed(f"training={name}")).__name__ for name in TRAININGS} == {
        **dict.fromkeys(TRAININGS, "EnsembleRecipe"),
        "mter": "MterRecipe",
    }
    for name, recipe in RECIPES.items():
        made = composed(f"training={name}")
        assert (made.members, made.shared_head, made.classification_target) == (
            recipe.members,
            recipe.shared_head,
            recipe.classification_target,
        )
        assert {key: type(term) for key, term in made.terms.items()} == {
            key: type(term) for key, term in recipe.terms.items()
        }
    begun, further = composed("training=single"), composed("training=mter")
    assert fingerprint(further.start) == fingerprint(begun), "the single recognizer that is trained anyway"
    for faces in (1000, 4000, 5201, 100_000):
        taken, before = (each.schedule.epochs * each.schedule.per_epoch(faces) for each in (further, begun))
        assert 0.08 < taken / before < 0.12, "a tenth of the steps"
    assert fingerprint(begun) != fingerprint(composed("training=single", "training.network.make.width=0.25"))
    assert composed("training=single", "training.network=null").needs_recognizer


def test_the_shipped_numbers_are_those_of_the_papers() -> None:
    """The tables of docs/methods/ensembles.md."""
    single = composed("training=single")
    assert (single.margin, single.flip) == (ArcFace(32, 0.5, margin_warmup=0.3, warmup_epochs=2), True)
    assert (single.schedule.lr, single.schedule.momentum, single.schedule.weight_decay) == (0.1, 0.9, 1e-4)
    diverse, other, adp = (composed(f"training={name}").terms for name in ("diverse", "diverse_residual_cos", "adp"))
    assert diverse == {"diversity": Diversity("logdet", 0.5, ramp=0.1)}
    assert other == {"diversity": Diversity("res_cos", 1.0, ramp=0.1)}
    assert adp == {"adp": Adp(alpha=2.0, beta=0.5, scale=32.0)}
    mter = composed("training=mter")
    assert (mter.search, mter.alpha) == (Search(rounds=10, step=1, close=0.1), 0.2)
    assert (mter.weight, mter.class_weight) == (1.0, pytest.approx(1 / 3))
    assert (mter.schedule.lr, mter.schedule.batch_size, mter.schedule.weight_decay) == (0.01, 240, 5e-4)
    for name in ("single_full", "diverse_full"):
        full = composed(f"training={name}")
        assert (full.margin.scale, full.margin.margin_warmup, full.schedule.epochs) == (64, None, 40)
        assert full.network.make.keywords == {"embedding": 512, "width": 1.0}


def test_what_is_wrong_is_found_however_deep_inside() -> None:
    wrong = Diversity("volume")  # type: ignore[arg-type]
    for inside, where in (
        ({"a": wrong}, "x.a.kind"),
        ([ArcFace(32), wrong], "x.1.kind"),
        ({"b": (wrong,)}, "x.b.0.kind"),
    ):
        with pytest.raises(FrbenchError, match=f"{where}=volume is not logdet"):
            check_fields(inside, "x")
    check_fields({"a": [Diversity()], "b": ArcFace(32)}, "x")


@pytest.mark.parametrize("name", ["single_full", "diverse_full"])
@pytest.mark.parametrize("network_", NETWORKS)
def test_the_published_size_is_of_any_network(name: str, network_: str) -> None:
    words = (f"training={name}", f"network@training.network={network_}")
    check_fields(composed(*words), "training")
    assert fingerprint(composed(*words).network) == fingerprint(
        composed("training=single", f"network@training.network={network_}").network
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_option_embeds_faces(name: str) -> None:
    network_ = composed("training=single", f"network@training.network={name}").network
    with torch.device("meta"):
        assert network_.make().eval()(torch.zeros(2, 3, 112, 112)).shape in ((2, 128), (2, 512))
    assert fingerprint(network_)
