"""PIN, Perturbation Inactivation (Ren et al., IEEE TIFS 2022): a face projected on the eigenfaces that a network keeps.

The paper's body was not at hand: method and constants are those of the authors' code (specs/pin_ais 3), and where the
published sparsity contradicts the published behaviour the default is what works (``defense=pin_paper`` is literal).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from frbench.defenses.subspace.masked_projection import SelectionDefense
from frbench.defenses.subspace.pin_fit import PinRecipe


@dataclass(frozen=True)
class PinDefense(SelectionDefense):
    """PIN: the selector was fitted without the recognizer, so one serves all of them."""

    identity = "defense.pin"
    version = 1

    recipe: PinRecipe

    option: ClassVar[str] = "pin"
