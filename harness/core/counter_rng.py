"""Counter-based random numbers: a function of (seed, stream, step, draw) and the number of the pair or photo.

No state is kept, so images do not depend on batch size, order, shard or device. The mixing is SplitMix64's finaliser
(Steele, Lea, Flood, OOPSLA 2014); 64-bit integers wrap alike on every device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import Enum, unique
from typing import Literal, NamedTuple

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB

_STEPS = range(1_000_000_000)  # steps of an attack or a random verifier
_ONE = range(1)
_DRAWS = range(1_000_000)


class Counters(NamedTuple):
    """The counters of one stream: step ``origin + step`` and draw ``first + k``, or ``first - k`` where negative.

    seed: the setting that the seed comes from. Settings with equal seeds may share counters, streams of one may not.
    steps, draws: the admissible ``step`` and ``k``.
    """

    seed: Literal["run", "defense", "dataset", "people"]
    origin: int = 0
    steps: range = _STEPS
    first: int = 0
    draws: range = _DRAWS


@unique
class Stream(Enum):
    """What random numbers are drawn for. Streams of one seed never share a counter, whatever the step and the draw."""

    # A random verifier. Its enrolled references have streams of their own.
    QUERY = Counters("run")  # queried by an attack or by a client of the service
    COMPARISON = Counters("run", 1_000_000_007, _ONE)  # queried by an attack that compares its results at the end
    CALIBRATION = Counters("run", 1 << 40, _ONE)
    JUDGING = Counters("run", 1 << 41, _ONE)
    QUERY_REFERENCE = Counters("run", -1, _ONE)
    CALIBRATION_REFERENCE = Counters("run", -1 - (1 << 40), _ONE)
    JUDGING_REFERENCE = Counters("run", -1 - (1 << 41), _ONE)

    ATTACK = Counters("run", first=-1)  # an attack's own noise; k says which
    CONTROL_NOISE = Counters("run", -2, _ONE)  # noise as large as the attack's change, which the judge compares
    AUDIT = Counters("run", -3, _ONE)

    PHOTO_SPLIT = Counters("run", -11, _ONE)  # of protocol=cloaking: which photos are tested
    UNCLOAKED_PHOTOS = Counters("run", -12, _ONE)  # which training photos stay natural
    OTHER_CLOAKING_USERS = Counters("run", -13, _ONE)
    CLOAK_TARGET = Counters("run", -21, _ONE)  # the person that a training cloak resembles
    CLOAK_MAKER = Counters(
        "run", 0, range(_STEPS.stop, 1 << 56), -3, _ONE
    )  # which maker cloaks a photo; step: its name

    DEFENSE = Counters("defense", 0, _ONE)  # constants of a defense that is not random

    DECOYS = Counters("dataset", 101, _ONE)
    PAIRS_OF_A_FOLD = Counters("dataset", 102, _ONE)
    ORDER_OF_FOLDS = Counters("dataset", 103, _ONE)
    USER_PHOTOS = Counters("dataset", 301, _ONE)
    USER_TARGETS = Counters("dataset", 302, _ONE)

    PERSON_TRAITS = Counters("people", -1, _ONE, 0, _ONE)
    SKIN_TEXTURE = Counters("people", -1, _ONE, 1, _ONE)
    PHOTO_CIRCUMSTANCES = Counters("people", 0, _ONE, 1, _ONE)
    SENSOR_NOISE = Counters("people", 0, _ONE, 2, _ONE)
    BACKDROP = Counters("people", 0, _ONE, 3, _ONE)
    BACKDROP_HUE = Counters("people", 0, _ONE, 4, _ONE)
    GENUINE_PAIRS = Counters("people", 201, _ONE)
    IMPOSTOR_PAIRS = Counters("people", 202, _ONE)


_REFERENCE = {
    Stream.QUERY: Stream.QUERY_REFERENCE,
    Stream.CALIBRATION: Stream.CALIBRATION_REFERENCE,
    Stream.JUDGING: Stream.JUDGING_REFERENCE,
}


class Draw(NamedTuple):
    """One draw of random numbers: noise is a function of it and of the pair's number, never of global state.

    step: of the attack or the loop. k: which of several draws at one step.
    """

    seed: int = 0
    stream: Stream = Stream.QUERY
    step: int = 0
    k: int = 0

    def of_reference(self) -> Draw:
        """The draw for the reference images that are enrolled at this draw; the same at every step.

        Raises ValueError: no reference is enrolled in this stream.
        """
        if self.stream not in _REFERENCE:
            raise ValueError(f"no reference is enrolled in {self.stream.name}, expected one of {_names(_REFERENCE)}")
        return self._replace(stream=_REFERENCE[self.stream], step=0)

    def counters(self) -> tuple[int, int, int]:
        """The seed, step and draw that are hashed. Raises ValueError: step or k is not admissible in the stream."""
        _, origin, steps, first, draws = self.stream.value
        if self.step not in steps or self.k not in draws:
            raise ValueError(f"{self}, expected a step in {steps} and a k in {draws}")
        return self.seed, origin + self.step, first + self.k if first >= 0 else first - self.k


def _names(streams: Iterable[Stream]) -> str:
    return ", ".join(stream.name for stream in streams)


def _shift_right(bits: Tensor, by: int) -> Tensor:
    """Logical shift: torch shifts signed integers arithmetically."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mix(bits: Tensor) -> Tensor:
    bits = (bits ^ _shift_right(bits, 30)) * _MIX_1
    bits = (bits ^ _shift_right(bits, 27)) * _MIX_2
    return bits ^ _shift_right(bits, 31)


def _key(index: Tensor, draw: Draw) -> Tensor:
    key = _mix(index.to(torch.int64) * _GOLDEN + 1)
    for part in draw.counters():
        key = _mix(key + _wrapped(part * _GOLDEN + 1))
    return key


def _wrapped(number: int) -> int:
    """``number`` modulo 2**64 as a signed 64-bit integer."""
    return (number + 2**63) % 2**64 - 2**63


def uniform(index: Tensor, draw: Draw, shape: tuple[int, ...]) -> Tensor:
    """Uniform noise in [0, 1), float32 (N, *shape), for the pairs ``index`` (N,)."""
    counter = torch.arange(1, math.prod(shape) + 1, device=index.device, dtype=torch.int64) * _GOLDEN
    bits = _mix(_key(index, draw)[:, None] + counter[None])
    return (_shift_right(bits, 40).to(torch.float32) * 2.0**-24).reshape(len(index), *shape)


def normal(index: Tensor, draw: Draw, shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise, float32 (N, *shape), the Box-Muller transform of ``uniform``."""
    pairs = uniform(index, draw, (2, *shape))
    radius = torch.sqrt(-2.0 * torch.log1p(-pairs[:, 0]))
    return radius * torch.cos(2 * math.pi * pairs[:, 1])
