"""What the cloaks share: the tanh space they move in, Adadelta, the views of a pair, and the 8 bits of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from frbench.harness.core.contracts import AttackResult, Goal, Images, View
from frbench.harness.core.face_data import PairBatch

Rounding = Literal["truncate", "nearest", "none"]
_ROUNDINGS: Mapping[str, Callable[[Tensor], Tensor]] = {"truncate": torch.floor, "nearest": torch.round}
_TANH = 2 - 1e-6  # keeps black and white at a finite place


def as_filed(images: Images, rounding: Rounding) -> Images:
    """``images`` as an 8-bit file gives them back; ``none`` leaves them between the levels."""
    images = images.clamp(0, 1)
    return _ROUNDINGS[rounding](images * 255) / 255 if rounding in _ROUNDINGS else images


def to_tanh(images: Images) -> Tensor:
    """Images in [0, 1] -> unbounded; black and white are finite, and nearly fixed (specs/cloaks_puface 2.2)."""
    return torch.atanh((images - 0.5) * _TANH)


def from_tanh(place: Tensor) -> Images:
    return torch.tanh(place) / _TANH + 0.5


class Adadelta:
    """Zeiler, 2012, elementwise and in place, so that rows never mix and may leave.

    As torch.optim.Adadelta; decay and epsilon are those of tf.keras.
    """

    def __init__(self, like: Tensor, decay: float = 0.95, epsilon: float = 1e-7) -> None:
        self.decay, self.epsilon = decay, epsilon
        self.squares, self.moves = torch.zeros_like(like), torch.zeros_like(like)

    def step(self, place: Tensor, slope: Tensor, rate: float) -> None:
        """Move ``place`` against ``slope``."""
        self.squares.mul_(self.decay).addcmul_(slope, slope, value=1 - self.decay)
        move = (self.moves + self.epsilon).div_(self.squares + self.epsilon).sqrt_().mul_(slope)
        self.moves.mul_(self.decay).addcmul_(move, move, value=1 - self.decay)
        place.sub_(move, alpha=rate)

    def restart(self) -> None:
        self.squares.zero_()
        self.moves.zero_()

    def __getitem__(self, rows: Tensor) -> Adadelta:
        kept = Adadelta(self.squares[:0], self.decay, self.epsilon)
        kept.squares, kept.moves = self.squares[rows], self.moves[rows]
        return kept


def result(view: View, goal: Goal, pairs: PairBatch, images: Images, steps: Tensor) -> AttackResult:
    """``images`` after ``steps`` (N,) each, and what the view says of them as they are now."""
    images = images.detach().contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        scores = view.final_score(images, view.enroll(pairs))
    return AttackResult(images, goal.achieved(scores, view.aim(goal, pairs.index)), steps)
