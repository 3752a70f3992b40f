"""Noise that belongs to the pair: a counter-based function of (seed, pair index, step, draw).

Images do not depend on batch size, order, shard or device, because no state is kept anywhere. The mixing
is SplitMix64's finaliser (Steele, Lea, Flood, OOPSLA 2014); 64-bit integers wrap alike on every device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from frbench.harness.core.contracts import Draw

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def _shift_right(bits: Tensor, by: int) -> Tensor:
    """Logical shift: torch shifts signed integers arithmetically."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mix(bits: Tensor) -> Tensor:
    bits = (bits ^ _shift_right(bits, 30)) * _MIX_1
    bits = (bits ^ _shift_right(bits, 27)) * _MIX_2
    return bits ^ _shift_right(bits, 31)


def _key(index: Tensor, draw: Draw) -> Tensor:
    key = _mix(index.to(torch.int64) * _GOLDEN + 1)
    for part in draw:
        key = _mix(key + _wrapped(part * _GOLDEN + 1))
    return key


def _wrapped(number: int) -> int:
    """``number`` modulo 2**64 as a signed integer: Python's do not wrap by themselves."""
    return (number + 2**63) % 2**64 - 2**63


def uniform(index: Tensor, draw: Draw, shape: tuple[int, ...]) -> Tensor:
    """Uniform noise in [0, 1), float32 (N, *shape), for the pairs ``index`` (N,)."""
    counter = torch.arange(1, math.prod(shape) + 1, device=index.device, dtype=torch.int64) * _GOLDEN
    bits = _mix(_key(index, draw)[:, None] + counter[None])
    return (_shift_right(bits, 40).to(torch.float32) * 2.0**-24).reshape(len(index), *shape)


def normal(index: Tensor, draw: Draw, shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise, float32 (N, *shape), by Box and Muller's transform of ``uniform``."""
    pairs = uniform(index, draw, (2, *shape))
    radius = torch.sqrt(-2.0 * torch.log1p(-pairs[:, 0]))
    return radius * torch.cos(2 * math.pi * pairs[:, 1])
