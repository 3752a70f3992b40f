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
SINGLE = EnsembleRecipe(ArcFace(16, 0.3, margin_warmup=0.1, warmup_epochs=2), SCHEDULE, network())
THREE = replace(SINGLE, members=3)
RECIPES: dict[str, EnsembleRecipe] = {
    "single": SINGLE,
    "naive_ensemble": replace(THREE, shared_head=False, classification_target="sum"),
    "shared_head": replace(THREE, classification_target="mean"),
    "diverse": replace(THREE, classification_target="mean", terms={"diversity": Diversity()}),
    "diverse_residual_cos": replace(
        THREE, classification_target="member", terms={"diversity": Diversity("res_cos", 1.0)}
    ),
    "diverse_separate_heads": replace(
        THREE, shared_head=False, classification_target="member", terms={"diversity": Diversity()}
    ),
    "adp": replace(THREE, shared_head=False, classification_target="sum", terms={"adp": Adp(scale=16.0)}),
}
