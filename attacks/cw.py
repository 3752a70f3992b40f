"""Carlini and Wagner's L2 attack on a verification score: size and hinge weighed by a constant found for each pair.

Carlini, Wagner, IEEE S&P 2017, as specs/ensemble_attacks 6.3 puts it for scores. The box is kept by projection, the
first of the paper's own three ways: its change of variables has next to no slope at black and white pixels, which
aligned faces are full of, and so never moves them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from frbench.attacks.components.minimization import Pending, Smallest, begin, line_search, look
from frbench.attacks.deepfool import newton
from frbench.harness.core.contracts import AttackResult, Budget, Goal, Mask, View
from frbench.harness.core.domains import AtLeastOne, NonNegativeInt, Positive, PositiveInt
from frbench.harness.core.face_data import PairBatch
from frbench.harness.threat_model.budgets import L2, norm

_L2 = L2(1.0)
_TINY = 1e-12
_OVERSHOOT = 1.02
_EXCESS = 1.5  # over the constant that balances: any larger one has the same minimum, reached the more slowly
_GROWTH = 10.0
_WIDE = 1.5  # a round whose steps were measured by so many times the size that it found was too rough to be the last
_CONSTANTS = (1e-3, 1e10)
_DECAY, _DECAY_SQUARES, _GUARD = 0.9, 0.999, 1e-8  # Adam's usual ones


@dataclass(frozen=True)
class Search(Pending):
    """Where the search of each pair stands.

    constant: what the hinge weighs; low, high: the largest that failed and the smallest that succeeded.
    reach:    the size of change that Adam's steps are measured by. mean, square: Adam's moments of the slope.
    """

    constant: Tensor
    low: Tensor
    high: Tensor
    reach: Tensor
    mean: Tensor
    square: Tensor


@dataclass(frozen=True)
class CarliniWagner:
    """Minimise ``size**2 + constant * hinge`` by Adam for one constant after another, each pair with its own.

    Attributes:
        newton_warmup_steps: Newton steps before the first constant is tried; the Adam search starts where they end.
        binary_search_steps: constants tried per pair at most; larger ones until the attack succeeds, then bisection.
        steps: Adam steps per constant; their size decays to zero along a cosine.
        lr: size of the first Adam step, in units of the RMS of the pair's perturbation so far.
        max_const_ratio: bisection stops once a successful constant is at most this many times the one at which the
            gradients of both terms have equal norm.
        line_search_steps: bisections between the clean and the adversarial image at the end, one score each.
    """

    identity = "attack.carlini_wagner"
    version = 1

    newton_warmup_steps: NonNegativeInt = 3
    binary_search_steps: PositiveInt = 5
    steps: PositiveInt = 60
    lr: Positive = 0.7
    max_const_ratio: AtLeastOne = 10.0
    line_search_steps: NonNegativeInt = 6

    needs_gradient = True
    bounded = False
    stops_early = True
    batch_dependent = False

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; ``budget`` is not looked at: an image is as small as it can be found."""
        whole, found = begin(view, pairs, goal)
        search = self._approach(view, whole, found)
        for number in range(self.binary_search_steps):
            if not len(search):
                break
            success, balance = self._round(view, search, found, self.newton_warmup_steps + number * self.steps)
            in_reach = search.reach <= _WIDE * found.size[search.rows]
            settled = success & in_reach & (search.constant <= self.max_const_ratio * balance)
            search = self._next(search, found, success)[~settled]
        line_search(
            view,
            found,
            whole,
            _L2,
            self.line_search_steps,
            self.newton_warmup_steps + self.binary_search_steps * self.steps,
        )
        return found.result()

    def _approach(self, view: View, front: Pending, found: Smallest) -> Search:
        """All pairs that the clean image does not settle, near the threshold, with a constant and a stride."""
        for step in range(self.newton_warmup_steps):
            scores, gap, slope = look(view, found.goal, front, step)
            found.iterations[front.rows] += 1
            size = _L2.size(front.images, front.clean)
            success = found.offer(front.rows, front.images, scores, size)
            moved = newton(front.images, gap * _OVERSHOOT, slope, "l2")
            front = replace(front, images=torch.where(success[:, None, None, None], front.images, moved))
        size = _L2.size(front.images, front.clean)
        constant = (_EXCESS * _balance(size, slope)).clamp(*_CONSTANTS)
        low, high = torch.zeros_like(constant), torch.full_like(constant, torch.inf)
        still = torch.zeros_like(front.clean)
        search = Search(**vars(front), constant=constant, low=low, high=high, reach=size, mean=still, square=still)
        return search[found.size > 0]

    def _round(self, view: View, search: Search, found: Smallest, first: int) -> tuple[Mask, Tensor]:
        """Adam with the constants as they are: which pairs (N,) succeeded at some step, and what would balance (N,)."""
        success = torch.zeros_like(search.rows, dtype=torch.bool)
        search = replace(search, mean=torch.zeros_like(search.clean), square=torch.zeros_like(search.clean))
        for step in range(self.steps):
            scores, gap, slope = look(view, found.goal, search, first + step)
            found.iterations[search.rows] += 1
            success |= found.offer(search.rows, search.images, scores, _L2.size(search.images, search.clean))
            whole = slope * (search.constant * (gap > 0))[:, None, None, None]
            whole += 2 * (search.images - search.clean)
            search = replace(search, images=self._stepped(search, whole, step))
        return success, _balance(found.size[search.rows], slope)

    def _stepped(self, search: Search, slope: Tensor, step: int) -> Tensor:
        """Adam's step number ``step`` of a round, kept in the box; the moments are updated in place."""
        search.mean.mul_(_DECAY).add_(slope, alpha=1 - _DECAY)
        search.square.mul_(_DECAY_SQUARES).addcmul_(slope, slope, value=1 - _DECAY_SQUARES)
        sinking = (1 + math.cos(math.pi * step / self.steps)) / 2
        stride = self.lr * sinking / math.sqrt(search.clean[0].numel())
        rate = search.reach * (stride / (1 - _DECAY ** (step + 1)))
        spread = (search.square / (1 - _DECAY_SQUARES ** (step + 1))).sqrt_().add_(_GUARD)
        change = (search.mean / spread).mul_(rate[:, None, None, None])
        return (search.images - change).clamp_(0, 1)

    def _next(self, search: Search, found: Smallest, success: Mask) -> Search:
        """The next round's constants, from the best images so far; where all failed, further steps as well."""
        low = torch.where(success, search.low, search.constant)
        high = torch.where(success, search.constant, search.high)
        constant = torch.where(high.isinf(), (search.constant * _GROWTH).clamp_max(_CONSTANTS[1]), (low + high) / 2)
        images, size = found.images[search.rows], found.size[search.rows]
        reach = torch.where(size.isfinite(), size, 2 * search.reach)
        return replace(search, images=images, constant=constant, low=low, high=high, reach=reach)


def _balance(size: Tensor, slope: Tensor) -> Tensor:
    """The constant (N,) that keeps a change of ``size`` where the loss has ``slope``: there both terms pull alike."""
    return 2 * size / norm(slope).flatten().clamp_min(_TINY)
