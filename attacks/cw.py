"""Carlini and Wagner's L2 attack on a verification score, with a constant searched per pair.

Carlini, Wagner, "Towards evaluating the robustness of neural networks", IEEE S&P 2017. Of the three box constraints
of its Section V.B this one projects: the change of variables has almost no gradient at black and white pixels, of
which aligned faces have many.

The method: docs/methods/minimal_perturbation_attacks.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from frbench.attacks.components.minimization import PendingPairs, SmallestPerturbations, begin, line_search, linearize
from frbench.attacks.deepfool import newton
from frbench.harness.core.contracts import Attack, AttackResult, Budget, Goal, Mask, View
from frbench.harness.core.domains import AtLeastOne, NonNegativeInt, Positive, PositiveInt
from frbench.harness.core.face_data import PairBatch
from frbench.harness.threat_model.budgets import L2, norm

_L2 = L2(1.0)
_TINY = 1e-12
_OVERSHOOT = 1.02
_FIRST_RATIO = 1.5  # of the first constant to the balanced one: larger ones have the same minimum and converge slower
_GROWTH = 10.0
_MAX_SCALE_RATIO = 1.5  # Adam steps scaled by more than this times the final size are too coarse for the last constant
_CONSTANTS = (1e-3, 1e10)
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8  # Adam's defaults


@dataclass(frozen=True)
class Search(PendingPairs):
    """State of the search, one row per pair.

    Attributes:
        constant: weight of the hinge (n,).
        low, high: the largest constant that failed and the smallest that succeeded (n,).
        scale: perturbation size (n,) in units of which Adam's steps are taken.
        mean, square: Adam's first and second moment of the gradient (n, 3, H, W).
    """

    constant: Tensor
    low: Tensor
    high: Tensor
    scale: Tensor
    mean: Tensor
    square: Tensor


@dataclass(frozen=True)
class CarliniWagner(Attack):
    """Minimises ``size**2 + constant * hinge`` by Adam for a sequence of constants, each pair with its own.

    Attributes:
        newton_warmup_steps: Newton steps before the first constant is tried; the Adam search starts where they end.
        binary_search_steps: constants tried per pair at most; larger ones until the attack succeeds, then bisection.
        steps: Adam steps per constant, with cosine annealing to zero.
        lr: size of the first Adam step, in units of the RMS of the pair's perturbation so far.
        max_const_ratio: bisection stops once a successful constant is at most this many times the one at which the
            gradients of both terms have equal norm.
        line_search_steps: bisections between the clean and the adversarial image at the end, one score each.
    """

    identity = "attack.carlini_wagner"
    version = 1

    newton_warmup_steps: PositiveInt = 3
    binary_search_steps: PositiveInt = 5
    steps: PositiveInt = 60
    lr: Positive = 0.7
    max_const_ratio: AtLeastOne = 10.0
    line_search_steps: NonNegativeInt = 6

    bounded = False
    stops_early = True

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; ``budget`` is ignored."""
        whole, found = begin(view, pairs, goal)
        search = self._warm_up(view, whole, found)
        for number in range(self.binary_search_steps):
            if not len(search):
                break
            success, balanced = self._minimize(view, search, found, self.newton_warmup_steps + number * self.steps)
            fine = search.scale <= _MAX_SCALE_RATIO * found.size[search.rows]
            settled = success & fine & (search.constant <= self.max_const_ratio * balanced)
            search = self._next(search, found, success)[~settled]
        scored = self.newton_warmup_steps + self.binary_search_steps * self.steps
        line_search(view, found, whole, _L2, self.line_search_steps, scored)
        return found.result()

    def _warm_up(self, view: View, active: PendingPairs, found: SmallestPerturbations) -> Search:
        """Newton steps to the threshold; the pairs whose clean image fails, each with its first constant."""
        for step in range(self.newton_warmup_steps):
            scores, gap, slope = linearize(view, found.goal, active, step)
            found.iterations[active.rows] += 1
            size = _L2.size(active.images, active.clean)
            success = found.update(active.rows, active.images, scores, size)
            moved = newton(active.images, gap * _OVERSHOOT, slope, "l2")
            active = replace(active, images=torch.where(success[:, None, None, None], active.images, moved))
        size = _L2.size(active.images, active.clean)
        constant = (_FIRST_RATIO * _balanced(size, slope)).clamp(*_CONSTANTS)
        low, high = torch.zeros_like(constant), torch.full_like(constant, torch.inf)
        zero = torch.zeros_like(active.clean)
        search = Search(**vars(active), constant=constant, low=low, high=high, scale=size, mean=zero, square=zero)
        return search[found.size > 0]

    def _minimize(self, view: View, search: Search, found: SmallestPerturbations, first: int) -> tuple[Mask, Tensor]:
        """Adam with fixed constants; which pairs (n,) succeed at some step, and their balanced constants (n,)."""
        success = torch.zeros_like(search.rows, dtype=torch.bool)
        search = replace(search, mean=torch.zeros_like(search.clean), square=torch.zeros_like(search.clean))
        for step in range(self.steps):
            scores, gap, slope = linearize(view, found.goal, search, first + step)
            found.iterations[search.rows] += 1
            success |= found.update(search.rows, search.images, scores, _L2.size(search.images, search.clean))
            total = slope * (search.constant * (gap > 0))[:, None, None, None]
            total += 2 * (search.images - search.clean)
            search = replace(search, images=self._stepped(search, total, step))
        return success, _balanced(found.size[search.rows], slope)

    def _stepped(self, search: Search, slope: Tensor, step: int) -> Tensor:
        """The images after Adam's step number ``step``, clipped to [0, 1]; the moments are updated in place."""
        search.mean.mul_(_BETA_1).add_(slope, alpha=1 - _BETA_1)
        search.square.mul_(_BETA_2).addcmul_(slope, slope, value=1 - _BETA_2)
        annealed = (1 + math.cos(math.pi * step / self.steps)) / 2
        per_pixel = self.lr * annealed / math.sqrt(search.clean[0].numel())
        rate = search.scale * (per_pixel / (1 - _BETA_1 ** (step + 1)))
        deviation = (search.square / (1 - _BETA_2 ** (step + 1))).sqrt_().add_(_EPSILON)
        change = (search.mean / deviation).mul_(rate[:, None, None, None])
        return (search.images - change).clamp_(0, 1)

    def _next(self, search: Search, found: SmallestPerturbations, success: Mask) -> Search:
        """The next constants, starting from the best images; pairs without a success also get larger steps."""
        low = torch.where(success, search.low, search.constant)
        high = torch.where(success, search.constant, search.high)
        constant = torch.where(high.isinf(), (search.constant * _GROWTH).clamp_max(_CONSTANTS[1]), (low + high) / 2)
        images, size = found.images[search.rows], found.size[search.rows]
        scale = torch.where(size.isfinite(), size, 2 * search.scale)
        return replace(search, images=images, constant=constant, low=low, high=high, scale=scale)


def _balanced(size: Tensor, slope: Tensor) -> Tensor:
    """The constant (n,) at which the gradients of both terms have equal norm, for a perturbation of ``size`` (n,)."""
    return 2 * size / norm(slope).flatten().clamp_min(_TINY)
