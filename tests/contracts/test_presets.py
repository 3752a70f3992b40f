"""The published constants of PIN, AIS and PuFace, as the presets have them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
from torch import nn

from frbench.defenses.cloak_removal.amplification import Amplification
from frbench.defenses.subspace.ais_learner import AisCost
from frbench.harness.core.fingerprints import fingerprint
from frbench.harness.training.loop import Schedule


@pytest.mark.parametrize(
    ("option", "components", "width", "hidden"),
    [
        ("pin_full", 2500, 64, 512),
        ("pin_paper", 2500, 64, 512),
        ("ais_full", 1500, 64, 512),
        ("ais_paper", 1500, 64, 512),
    ],
)
def test_that_presets_are_of_the_published_size(
    option: str, components: int, width: int, hidden: int, made: Callable[..., Any]
) -> None:
    recipe = made("defense", option).recipe
    sizes = recipe.warmup.selector if hasattr(recipe, "warmup") else recipe
    assert (sizes.components, sizes.width, sizes.hidden) == (components, width, hidden)


def test_that_the_warm_up_alone_is_the_first_phase_of_ais(made: Callable[..., Any]) -> None:
    """So the comparison needs no second fit."""
    assert made("defense", "ais_warmup").recipe == made("defense", "ais").recipe.warmup


def test_that_the_paper_presets_hold_the_constants_of_the_authors_code(made: Callable[..., Any]) -> None:
    pin, ais = made("defense", "pin_paper").recipe, made("defense", "ais_paper").recipe
    assert (pin.cost.sparsity, pin.cost.reduction, pin.estimator, pin.baseline, pin.mask_samples) == (
        0.015,
        "mean",
        "reinforce",
        "batch",
        30,
    )
    assert pin.schedule == Schedule(200, 20, 1e-2, "sgd", 0.9, 0.5, 20)
    assert ais.warmup.cost == AisCost(3e-3, 8.0, "reinforce", 25)
    assert ais.schedule == Schedule(5, 4, 1e-2, "sgd", 0.9) and ais.warmup.schedule.epochs == 1
    assert (ais.radius, ais.ema_update_every, ais.ema_decay, ais.attack_bn_mode) == (0.02, 20000, 0.9, "train")
    assert (ais.warmup.selector.memory_items, ais.warmup.selector.memory_update, ais.warmup.selector.initial_keep) == (
        128,
        "reference",
        0.5,
    )
    assert (ais.warmup.selector.initial_leading, ais.warmup.cost.sparsity) == (None, 3e-3)
    assert (ais.ema_counter_scope, ais.clip_attacked) == ("epoch", False)


def test_that_the_paper_presets_start_from_the_initial_weights_of_the_authors_code(made: Callable[..., Any]) -> None:
    """PyTorch's own: uniform below the inverse root of a convolution's inputs. Small networks of the same recipe."""
    pin, ais = made("defense", "pin_paper").recipe, made("defense", "ais_paper").recipe
    small = {"components": 6, "width": 4, "hidden": 8}
    for network in (replace(pin, **small).network(), replace(ais.warmup.selector, **small).network()):
        layers = [each for each in network.encoder.modules() if isinstance(each, nn.Conv2d)]
        assert len(layers) == 1 + 8 * 3
        assert all(each.weight.abs().max() <= each.weight[0].numel() ** -0.5 for each in layers)


def test_that_paper_presets_list_what_differs_from_the_authors_code() -> None:
    for option in ("pin_paper", "ais_paper"):
        text = (files("frbench.conf") / "defense" / f"{option}.yaml").read_text(encoding="utf-8")
        head = text[: text.index("defaults:")]
        assert "still differs" in head and head.count("\n# - ") >= 5


def test_that_puface_in_full_has_the_settings_of_the_development_code(made: Callable[..., Any]) -> None:
    """Except for the number of photos, the fraction of clean photos and clipping, which are ours."""
    recipe = made("defense", "puface_full").recipe
    assert sum(each.numel() for each in recipe.network().parameters()) == 1_037_507
    assert recipe.amplification == Amplification(5, "forward", 0.2) and recipe.feature_weight == 20
    assert recipe.schedule == Schedule(50, 32, 1e-4, "adam", 0.9, 0.8, 8, "mixed", grad_clip_norm=1.0, patience=20)
    assert recipe.validation_factor == 1 and recipe.warmup.lr == recipe.schedule.lr
    fawkes = recipe.cloaks.makers["fawkes"].attack
    assert (fawkes.steps, fawkes.threshold, recipe.cloaks.num_photos) == (150, 0.017, 10000)


def test_that_puface_mixed_learns_what_puface_does_from_the_cloaks_of_more_makers(made: Callable[..., Any]) -> None:
    mixed, alone = made("defense", "puface_mixed").recipe, made("defense", "puface").recipe
    assert mixed.cloaks.makers.keys() > alone.cloaks.makers.keys() == {"fawkes"}
    assert mixed.cloaks.makers["fawkes"].attack == alone.cloaks.makers["fawkes"].attack
    assert mixed.schedule == alone.schedule and mixed.cloaks.num_photos == alone.cloaks.num_photos
    assert len({maker.surrogate.name for maker in mixed.cloaks.makers.values()}) > 1


def test_that_ablations_of_puface_share_its_cloaks(made: Callable[..., Any]) -> None:
    usual = made("defense", "puface").recipe
    dev, bare = made("defense", "puface_dev").recipe, made("defense", "puface_image_only").recipe
    assert dev.amplification == Amplification(5, "reverse", 0.2)
    assert (bare.amplification.factor, bare.feature_weight) == (1, 0)
    for other in (dev, bare):
        assert (other.cloaks.num_photos, other.cloaks.all_makers) == (usual.cloaks.num_photos, usual.cloaks.all_makers)
        assert other.cloaks.makers.keys() == usual.cloaks.makers.keys()
        for maker, its in ((other.cloaks.makers[name], usual.cloaks.makers[name]) for name in usual.cloaks.makers):
            assert fingerprint(maker.attack, maker.budget, maker.share) == fingerprint(
                its.attack, its.budget, its.share
            )
            assert maker.surrogate.name == its.surrogate.name
        assert other.features.name == usual.features.name == "bubbliiiing_mobilefacenet"
