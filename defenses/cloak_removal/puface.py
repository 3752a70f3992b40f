"""PuFace (2024): photos purified of cloaks, before a recognizer learns from them, by a network that was trained on
amplified ones.

The paper's body was not at hand: the network and its training are those of what is, most likely, its author's
development code (specs/cloaks_puface 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from frbench.defenses.cloak_removal.puface_fit import PufaceRecipe
from frbench.defenses.cloak_removal.restoration import RestorationDefense


@dataclass(frozen=True)
class PufaceDefense(RestorationDefense):
    """PuFace: fitted with recognizers of its own, so one serves all trackers."""

    identity = "defense.puface"
    version = 1

    recipe: PufaceRecipe

    option: ClassVar[str] = "puface"
