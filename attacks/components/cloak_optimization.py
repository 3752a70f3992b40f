"""Parts that cloaking attacks share: the tanh parametrization of images, Adadelta, and the result."""

from __future__ import annotations

import torch
from torch import Tensor

from frbench.harness.core.contracts import AttackResult, Goal, Images, View
from frbench.harness.core.face_data import PairBatch

_TANH = 2 - 1e-6  # below 2, so that black and white have a finite atanh


def to_tanh(images: Images) -> Tensor:
    """Images in [0, 1] -> unbounded parameters, as in the authors' code of Fawkes; black and white barely move."""
    return torch.atanh((images - 0.5) * _TANH)


def from_tanh(parameters: Tensor) -> Images:
    """The inverse of ``to_tanh``."""
    return torch.tanh(parameters) / _TANH + 0.5


class Adadelta:
    """Adadelta (Zeiler, 2012) whose rows can be selected, which torch.optim.Adadelta does not allow.

    The updates are those of torch.optim.Adadelta; the default decay and epsilon are those of tf.keras.
    """

    def __init__(self, like: Tensor, decay: float = 0.95, epsilon: float = 1e-7) -> None:
        self.decay, self.epsilon = decay, epsilon
        self.squares, self.moves = torch.zeros_like(like), torch.zeros_like(like)

    def step(self, parameters: Tensor, slope: Tensor, lr: float) -> None:
        """Update ``parameters`` in place with the gradient ``slope``."""
        self.squares.mul_(self.decay).addcmul_(slope, slope, value=1 - self.decay)
        move = (self.moves + self.epsilon).div_(self.squares + self.epsilon).sqrt_().mul_(slope)
        self.moves.mul_(self.decay).addcmul_(move, move, value=1 - self.decay)
        parameters.sub_(move, alpha=lr)

    def restart(self) -> None:
        """Forget the accumulated gradients and updates."""
        self.squares.zero_()
        self.moves.zero_()

    def __getitem__(self, rows: Tensor) -> Adadelta:
        kept = Adadelta(self.squares[:0], self.decay, self.epsilon)
        kept.squares, kept.moves = self.squares[rows], self.moves[rows]
        return kept


def result(view: View, goal: Goal, pairs: PairBatch, images: Images, steps: Tensor) -> AttackResult:
    """The result of ``images`` after ``steps`` (N,) steps each, judged by the view."""
    images = images.detach().contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        scores = view.final_score(images, view.enroll(pairs))
    return AttackResult(images, goal.achieved(scores, view.aim(goal, pairs.index)), steps)
