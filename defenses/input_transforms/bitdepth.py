"""Bit depth reduction (feature squeezing: Xu, Evans, Qi, NDSS 2018, section III.A)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from frbench.defenses.components.purifier import PurifierDefense, StraightThrough
from frbench.harness.core.contracts import Draw, Images
from frbench.harness.core.domains import Bits
from frbench.harness.core.purifiers import Purifier, Sides


@dataclass(frozen=True)
class BitDepth:
    """Round each channel to ``2**bits`` equidistant levels from 0 to 1."""

    identity = "purifier.bit_depth"
    version = 1

    bits: int

    differentiable = False
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        steps = 2**self.bits - 1
        return (images * steps).round() / steps


@dataclass(frozen=True)
class BitDepthDefense(PurifierDefense):
    """Bit depth reduction to ``bits`` per channel."""

    identity = "defense.bit_depth"
    version = 1

    bits: Bits = 4
    apply_to: Sides = "both"

    def purifier(self) -> Purifier:
        return BitDepth(self.bits)

    def differentiable_purifiers(self) -> Mapping[str, Purifier]:
        return {"straight_through": StraightThrough(BitDepth(self.bits))}
