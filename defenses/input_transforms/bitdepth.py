"""Bit depth reduction (Xu, Evans, Qi, NDSS 2018): a staircase, attacked straight through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from frbench.defenses.components.purifier import PurifierDefense, StraightThrough
from frbench.harness.core.contracts import Draw, Images
from frbench.harness.core.domains import Bits
from frbench.harness.core.verifiers import Purifier, Sides


@dataclass(frozen=True)
class BitDepth:
    """Rounds each channel to ``2**bits`` even levels from 0 to 1."""

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
    """``bits`` per channel, 1 to 8."""

    identity = "defense.bit_depth"
    version = 1

    bits: Bits = 4
    purify: Sides = "both"

    def purifier(self) -> Purifier:
        return BitDepth(self.bits)

    def stand_ins(self) -> Mapping[str, Purifier]:
        return {"straight_through": StraightThrough(BitDepth(self.bits))}
