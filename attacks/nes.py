"""Descent along gradients estimated from scores: NES (Ilyas et al., ICML 2018) and SPSA (Uesato et al., ICML 2018)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from frbench.attacks.components.active_set import Front, Ledger
from frbench.attacks.square import allowance
from frbench.harness.core.contracts import AttackResult, Budget, Draw, Goal, Images, Scores, View
from frbench.harness.core.counter_rng import Stream, normal, uniform
from frbench.harness.core.domains import AtLeastThree, CropPixels, EvenCount, Fraction, PixelChange, RelativeStep
from frbench.harness.core.face_data import PairBatch

_ROOM = 128  # images asked about at once, where pairs are few
_TINY = 1e-12


def _signs(index: Tensor, draw: Draw, shape: tuple[int, ...]) -> Tensor:
    return (uniform(index, draw, shape) < 0.5).to(torch.float32) * 2 - 1


_DIRECTIONS: Mapping[str, Callable[[Tensor, Draw, tuple[int, ...]], Tensor]] = {"nes": normal, "spsa": _signs}


@dataclass(frozen=True)
class GradientEstimate:
    """Momentum descent on the score; a slope is the mean of directions, weighted by how the loss differs along them.

    queries:    scores for each pair at most: each step takes ``samples``, two for a direction, and one where it led.
    samples:    even; the last step makes do with what is left.
    estimator: distribution of the directions: ``nes`` (Gaussian) or ``spsa`` (Bernoulli signs).
    sigma:     how far along a direction one looks to both sides, in units of the image's range.
    grid:       directions are drawn as grid x grid pixels and enlarged, or null for each pixel by itself.
    rel_stepsize: length of a step in radii of the budget. momentum: decay of the accumulated slope.
    early_stop: as in ``Square``.
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
    bounded = True
    batch_dependent = False

    @property
    def stops_early(self) -> bool:
        return self.early_stop

    @torch.no_grad()
    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; ``iterations`` are steps. The clean image itself is never asked about."""
        ledger, aim = Ledger(goal, pairs.probe), view.aim(goal, pairs.index)
        front = Front(pairs.probe, view.enroll(pairs), budget.around(pairs.probe), aim)
        spent, limit = 0, allowance(self.queries, view)
        while limit - spent >= 3 and len(front):  # one direction, two ways, and a look at where it led
            samples = min(self.samples, limit - spent - 1) // 2 * 2
            slope = self._slope(view, goal, front, samples, spent)
            front.velocity = slope if front.velocity is None else front.velocity * self.momentum + slope
            front.images = front.ball.step(front.images, front.velocity, self.rel_stepsize)
            spent += samples + 1
            scores = view.score(front.images, front.template, spent - 1)
            ledger.offer(front.rows, front.images, scores)
            ledger.iterations[front.where] += 1
            if self.stops_early:
                front = front.keep(~goal.achieved(scores, front.aim))
        return AttackResult(ledger.images, goal.achieved(ledger.scores, aim), ledger.iterations)

    def _slope(self, view: View, goal: Goal, front: Front, samples: int, spent: int) -> Tensor:
        """Estimated gradient (n, C, H, W) with a mean size of 1, or zero where the score does not move."""
        shape = self._shape(front.images)
        slope = torch.zeros(len(front), *shape, device=front.images.device)
        together = 1 if view.verifier.random else max(1, _ROOM // (2 * len(front)))
        for first in range(0, samples // 2, together):
            seen = range(first, min(first + together, samples // 2))
            drawn = [self._direction(front.template.index, view.seed, spent, each, shape) for each in seen]
            moves = [self._enlarged(each, front.images) * self.sigma for each in drawn]
            questions = [(front.images + sign * move).clamp_(0, 1) for move in moves for sign in (1, -1)]
            losses = goal.loss(_answers(view, front, questions, spent + 2 * first)).reshape(len(drawn), 2, -1)
            rises = (losses[:, 0] - losses[:, 1]).nan_to_num(0.0)  # no answer is no slope
            for rise, each in zip(rises, drawn, strict=True):
                slope += rise[:, None, None, None] * each
        slope = self._enlarged(slope, front.images)
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


def _answers(view: View, front: Front, questions: list[Images], step: int) -> Scores:
    """Scores (len(questions), n): in one call, but where the victim is random, so that no two share a draw."""
    if view.verifier.random:
        return torch.stack([view.score(each, front.template, step + at) for at, each in enumerate(questions)])
    rows = torch.arange(len(front), device=front.images.device).repeat(len(questions))
    return view.score(torch.cat(questions), front.template[rows], step).reshape(len(questions), -1)
