"""The recipes that are compared, small enough to learn a few people in seconds."""

from __future__ import annotations

from dataclasses import replace

from support.toy_learners import network, people

from frbench.harness.training.ensemble_recipe import EnsembleRecipe
from frbench.harness.training.loop import Schedule
from frbench.harness.training.losses.adp import Adp
from frbench.harness.training.losses.diversity import Diversity
from frbench.harness.training.losses.margins import ArcFace

FACES = people()
SCHEDULE = Schedule(12, 24, 0.05, lr_scheduler="cosine", weight_decay=1e-4, grad_clip_norm=5.0)  # 5 steps an epoch
SINGLE = EnsembleRecipe(ArcFace(16, 0.3, first=0.1, first_epochs=2), SCHEDULE, network())
THREE = replace(SINGLE, members=3)
RECIPES: dict[str, EnsembleRecipe] = {
    "single": SINGLE,
    "naive_ensemble": replace(THREE, shared=False, classify="sum"),
    "shared_w": replace(THREE, classify="mean"),
    "diverse": replace(THREE, classify="mean", terms={"diversity": Diversity()}),
    "diverse_b": replace(THREE, classify="member", terms={"diversity": Diversity("res_cos", 1.0)}),
    "div_noshare": replace(THREE, shared=False, classify="member", terms={"diversity": Diversity()}),
    "adp": replace(THREE, shared=False, classify="sum", terms={"adp": Adp(scale=16.0)}),
}
