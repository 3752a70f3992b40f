"""A plain autoencoder as a purifier: what it cannot say of a natural photo it cannot say of a cloak either."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from frbench.defenses.cloak_removal.autoencoder_fit import AutoencoderRecipe
from frbench.defenses.cloak_removal.restoration import RestorationDefense


@dataclass(frozen=True)
class AutoencoderDefense(RestorationDefense):
    """What the same network gives without cloaks to learn from: the control of PuFace."""

    identity = "defense.autoencoder"
    version = 1

    recipe: AutoencoderRecipe

    option: ClassVar[str] = "autoencoder"
