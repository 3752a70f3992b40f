"""The published constants of PIN and AIS, as the presets have them (specs/pin_ais 3.3 and 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from frbench.defenses.ais_training import AisCost
from frbench.harness.training import Schedule


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
    sizes = recipe.warmup.antibody if hasattr(recipe, "warmup") else recipe
    assert (sizes.components, sizes.width, sizes.hidden) == (components, width, hidden)


def test_that_the_warm_up_alone_is_the_first_phase_of_ais(made: Callable[..., Any]) -> None:
    """So the comparison needs no second fit."""
    assert made("defense", "ais_warmup").recipe == made("defense", "ais").recipe.warmup


def test_that_the_paper_presets_hold_the_constants_of_the_authors_code(made: Callable[..., Any]) -> None:
    pin, ais = made("defense", "pin_paper").recipe, made("defense", "ais_paper").recipe
    assert (pin.cost.sparsity, pin.cost.reduction, pin.estimator, pin.baseline, pin.draws) == (
        0.015,
        "mean",
        "reinforce",
        "batch",
        30,
    )
    assert pin.schedule == Schedule(200, 20, 1e-2, "sgd", 0.9, 0.5, 20)
    assert ais.warmup.cost == AisCost(3e-3, 8.0, "reinforce", 25)
    assert ais.schedule == Schedule(5, 4, 1e-2, "sgd", 0.9) and ais.warmup.schedule.epochs == 1
    assert (ais.radius, ais.lag, ais.memory_of_average, ais.attacked_in) == (0.02, 20000, 0.9, "train")
    assert (ais.warmup.antibody.items, ais.warmup.antibody.update, ais.warmup.antibody.start) == (128, "reference", 0.5)
