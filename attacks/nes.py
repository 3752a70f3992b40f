"""Descent along gradients that are estimated from scores: NES and SPSA.

Ilyas et al., "Black-box adversarial attacks with limited queries and information", ICML 2018; Uesato et al.,
"Adversarial risk and the dangers of evaluating against weak attacks", ICML 2018.

The method: docs/methods/attacks_within_a_budget.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from frbench.attacks.components.active_set import ActivePairs, BestIterates
from frbench.attacks.square import allowance
from frbench.harness.core.contracts import Attack, AttackResult, Budget, Draw, Goal, Images, Scores, View
from frbench.harness.core.counter_rng import Stream, normal, uniform
from frbench.harness.core.domains import AtLeastThree, CropPixels, EvenCount, Fraction, PixelChange, RelativeStep
from frbench.harness.core.face_data import PairBatch

_MAX_BATCH = 128  # images scored at once where pairs are few
_TINY = 1e-12


def _signs(index: Tensor, draw: Draw, shape: tuple[int, ...]) -> Tensor:
    return (uniform(index, draw, shape) < 0.5).to(torch.float32) * 2 - 1


_DIRECTIONS: Mapping[str, Callable[[Tensor, Draw, tuple[int, ...]], Tensor]] = {"nes": normal, "spsa": _signs}


@dataclass(frozen=True)
class GradientEstimate(Attack):
    """Momentum descent along a mean of random directions, weighted by the finite differences of the loss.

    Attributes:
        queries: scores per pair at most; each step uses ``samples`` for the gradient and one for its result.
        samples: even number of queries per gradient, two per direction; the last step uses those that remain.
        estimator: distribution of the directions, ``nes`` for Gaussian or ``spsa`` for random signs.
        sigma: half the distance of the two queries along a direction, in [0, 1].
        grid: directions are drawn with grid x grid pixels and upsampled; null for one value per pixel.
        rel_stepsize: step size in radii of the budget.
        momentum: decay of the accumulated gradient.
        early_stop: make no more queries for a pair whose score passes the view's aim.
    """

    identity = "attack.nes"
    version = 1

    queries: AtLeastThree = 1000
    samples: EvenCount = 40
    estimator: Literal["nes", "spsa"] = "nes"
    sigma: PixelChange = 0.01
    grid: CropPixels | None = 14
    rel_stepsize: RelativeStep = 0.2
    momentum: Fraction = 0.9
    early_stop: bool = True

    needs_gradient = False

    @property
    def stops_early(self) -> bool:
        return self.early_stop

    @torch.no_grad()
    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; ``iterations`` are steps. The clean image is not queried."""
        best, aim = BestIterates(goal, pairs.probe), view.aim(goal, pairs.index)
        active = ActivePairs(pairs.probe, view.enroll(pairs), budget.around(pairs.probe), aim)
        spent, limit = 0, allowance(self.queries, view)
        while limit - spent >= 3 and len(active):  # two queries for a direction and one for the result
            samples = min(self.samples, limit - spent - 1) // 2 * 2
            slope = self._slope(view, goal, active, samples, spent)
            active.velocity = slope if active.velocity is None else active.velocity * self.momentum + slope
            active.images = active.ball.step(active.images, active.velocity, self.rel_stepsize)
            spent += samples + 1
            scores = view.score(active.images, active.template, spent - 1)
            best.update(active.rows, active.images, scores)
            best.iterations[active.where] += 1
            if self.stops_early:
                active = active.keep(~goal.achieved(scores, active.aim))
        return AttackResult(best.images, goal.achieved(best.scores, aim), best.iterations)

    def _slope(self, view: View, goal: Goal, active: ActivePairs, samples: int, spent: int) -> Tensor:
        """Estimated gradient (n, C, H, W) with mean absolute value 1, or zero where the score does not change."""
        shape = self._shape(active.images)
        slope = torch.zeros(len(active), *shape, device=active.images.device)
        together = 1 if view.verifier.random else max(1, _MAX_BATCH // (2 * len(active)))
        for first in range(0, samples // 2, together):
            numbers = range(first, min(first + together, samples // 2))
            drawn = [self._direction(active.template.index, view.seed, spent, each, shape) for each in numbers]
            moves = [self._enlarged(each, active.images) * self.sigma for each in drawn]
            queried = [(active.images + sign * move).clamp_(0, 1) for move in moves for sign in (1, -1)]
            losses = goal.loss(_scores(view, active, queried, spent + 2 * first)).reshape(len(drawn), 2, -1)
            differences = (losses[:, 0] - losses[:, 1]).nan_to_num(0.0)  # NaN: no answer
            for difference, each in zip(differences, drawn, strict=True):
                slope += difference[:, None, None, None] * each
        slope = self._enlarged(slope, active.images)
        return slope / slope.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(_TINY)

    def _shape(self, images: Images) -> tuple[int, ...]:
        channels, *edges = images.shape[1:]
        return (channels, *(edge if self.grid is None else min(self.grid, edge) for edge in edges))

    def _direction(self, index: Tensor, seed: int, spent: int, which: int, shape: tuple[int, ...]) -> Tensor:
        draw = Draw(seed, Stream.ATTACK, spent, which)
        return _DIRECTIONS[self.estimator](index, draw, shape)

    @staticmethod
    def _enlarged(small: Tensor, images: Images) -> Tensor:
        if small.shape[2:] == images.shape[2:]:
            return small
        return functional.interpolate(small, images.shape[2:], mode="bilinear", align_corners=False)


def _scores(view: View, active: ActivePairs, queried: list[Images], step: int) -> Scores:
    """Scores (len(queried), n) in one call; one call each for a random verifier, so that every query has its draw."""
    if view.verifier.random:
        return torch.stack([view.score(each, active.template, step + at) for at, each in enumerate(queried)])
    rows = torch.arange(len(active), device=active.images.device).repeat(len(queried))
    return view.score(torch.cat(queried), active.template[rows], step).reshape(len(queried), -1)
