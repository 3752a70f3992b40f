"""AIS, Artificial Immune System (Ren et al., IJCV 2024): a face projected on the eigenfaces that a network keeps, which
learnt it against attacks on itself.

The paper's body was not at hand: method and constants are those of the authors' code (specs/pin_ais 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from frbench.defenses.subspace.ais_fit import Rehearsal, WarmUp
from frbench.defenses.subspace.masked_projection import SelectionDefense


@dataclass(frozen=True)
class AisDefense(SelectionDefense):
    """AIS: the rehearsal, or the warm-up alone as its control; fitted for one recognizer."""

    identity = "defense.ais"
    version = 1

    recipe: Rehearsal | WarmUp

    option: ClassVar[str] = "ais"
