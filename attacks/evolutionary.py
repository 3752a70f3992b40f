"""The evolutionary attack on decisions alone (Dong et al., CVPR 2019), in the variant of specs/ensemble_attacks 6.4.

From an image that already has the answer wanted, each pair walks toward its clean image with noise drawn in a small
image, more of it where noise has helped before, and keeps every nearer image that still has that answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor
from torch.nn import functional

from frbench.attacks.square import allowance
from frbench.harness.core.contracts import AttackResult, Budget, Draw, Goal, Images, Mask, Scores, View
from frbench.harness.core.counter_rng import Stream, normal, uniform
from frbench.harness.core.domains import (
    CropPixels,
    Fraction,
    NonNegativeInt,
    OpenFraction,
    Positive,
    PositiveFraction,
    PositiveInt,
)
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import PairBatch
from frbench.harness.threat_model.budgets import norm

_BLOCK = 10  # moves drawn at once
_STEEPEST = 0.9  # of the way to the clean image, in one move
_TINY = 1e-12


class _Noise(IntEnum):
    """What noise of the attack is for: ``k`` of its draws."""

    START = 0
    PLACES = 1
    SIZES = 2


@dataclass(frozen=True)
class Evolutionary:
    """Make a change that already succeeds smaller, by decisions alone: a score is only compared with the aim.

    queries:    scores for each pair at most. votes: scores a decision, of which most must agree (random victims).
    tries:      starts: the goal's target, and while that is not adversarial, images of noise.
    bisections: of the line from the start to the clean image.
    grid:       the noise is drawn as grid x grid pixels, at most the image's own.
    coordinate_fraction: share of these pixels that a move changes.
    mu: first share of the way to the clean image in a move. sigma: its noise, in distances to that image.
    c_c: decay of the path of successful noise; c_cov: learning rate of the variances that follow the path.
    window:     moves after which the pull follows the one-fifth rule.

    The clean image is never asked about: who is attacked is known to be decided correctly.
    """

    identity = "attack.evolutionary"
    version = 1

    queries: PositiveInt = 1000
    votes: PositiveInt = 1
    tries: PositiveInt = 5
    bisections: NonNegativeInt = 10
    grid: CropPixels = 32
    coordinate_fraction: PositiveFraction = 0.05
    mu: OpenFraction = 0.01
    sigma: Positive = 0.1
    c_c: Fraction = 0.01
    c_cov: Fraction = 0.001
    window: PositiveInt = 30

    needs_gradient = False
    bounded = False
    stops_early = True
    batch_dependent = False

    def check_combination(self, where: str) -> None:
        if self.votes > self.queries:
            raise ConfigError(
                f"{where}.votes={self.votes} is above {where}.queries={self.queries}: no decision is left"
            )

    @torch.no_grad()
    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs`` whatever the budget; a pair without a start fails. ``iterations`` are decisions."""
        decisions = allowance(self.queries, view) // self.votes
        asker, tries = _Asker(view, goal, pairs, self.votes), min(self.tries, decisions)
        images, began = self._begin(asker, pairs, tries)
        for attempt in range(tries):  # pairs with as many decisions left walk together
            rows = (began == attempt).nonzero().flatten()
            if len(rows):
                walk = _Walk(self, asker, rows, pairs.probe[rows], images[rows])
                images[rows] = walk.run(first=tries, decisions=decisions - attempt - 1)
        found = began >= 0
        return AttackResult(images, found, torch.where(found, decisions, tries))

    def _begin(self, asker: _Asker, pairs: PairBatch, tries: int) -> tuple[Images, Tensor]:
        """A start for each pair, or the best of what was tried, and the attempt (N,) that found it, or -1."""
        images, began = pairs.probe.clone(), torch.full_like(pairs.index, -1)
        least = torch.full((len(pairs),), torch.inf, device=began.device)
        rows = torch.arange(len(pairs), device=began.device)
        for attempt in range(tries):
            if not len(rows):
                break
            if attempt:
                noise = uniform(
                    pairs.index[rows],
                    Draw(asker.view.seed, Stream.ATTACK, attempt, _Noise.START),
                    tuple(images.shape[1:]),
                )
            tried = noise if attempt else asker.goal.target(pairs)
            agreed, loss = asker.ask(rows, tried, attempt)
            better = agreed | (loss < least[rows])
            images[rows[better]], least[rows[better]] = tried[better], loss[better]
            began[rows[agreed]] = attempt
            rows = rows[~agreed]
        return images, began


class _Asker:
    """Decisions about pairs of one batch, each by the majority of ``votes`` scores."""

    def __init__(self, view: View, goal: Goal, pairs: PairBatch, votes: int) -> None:
        self.view, self.goal, self.votes, self.index = view, goal, votes, pairs.index
        self.template, self.aim = view.enroll(pairs), view.aim(goal, pairs.index)

    def ask(self, rows: Tensor, images: Images, step: int) -> tuple[Mask, Scores]:
        """Whether ``images`` (n, C, H, W) of the pairs ``rows`` have the answer wanted, and their mean loss (n,)."""
        template, draws = self.template[rows], range(step * self.votes, (step + 1) * self.votes)
        scores = torch.stack([self.view.score(images, template, draw) for draw in draws])
        agreed = self.goal.achieved(scores, self.aim[rows]).sum(dim=0) * 2 > self.votes
        return agreed, self.goal.loss(scores).mean(dim=0)


class _Walk:
    """Pairs on their way from an image with the answer wanted to their clean image."""

    def __init__(self, attack: Evolutionary, asker: _Asker, rows: Tensor, clean: Images, images: Images) -> None:
        self.attack, self.asker, self.rows, self.clean, self.images = attack, asker, rows, clean, images
        self.small = (clean.shape[1], *(min(attack.grid, edge) for edge in clean.shape[2:]))
        self.variances = torch.ones(len(rows), math.prod(self.small), device=clean.device)
        self.path = torch.zeros_like(self.variances)
        self.pull = torch.full_like(self.variances[:, 0], attack.mu)
        self.moved_at_once = max(1, int(self.variances.shape[1] * attack.coordinate_fraction))

    def run(self, first: int, decisions: int) -> Images:
        """The nearest images that the decisions, numbered from ``first``, found."""
        attack, halvings = self.attack, min(self.attack.bisections, decisions)
        self._bisect(first, halvings)
        wins = torch.zeros_like(self.pull)
        for move in range(decisions - halvings):
            if move % _BLOCK == 0:
                self._draw(move // _BLOCK)
            step = self._noise(move % _BLOCK)
            tried = self._nearer(step)
            won, _ = self.asker.ask(self.rows, tried, first + attack.bisections + move)
            self.images = torch.where(won[:, None, None, None], tried, self.images)
            self._learn(won, step)
            wins += won
            if (move + 1) % attack.window == 0:
                self.pull = (self.pull * torch.exp(wins / attack.window - 0.2)).clamp_max(_STEEPEST)
                wins = torch.zeros_like(wins)
        return self.images

    def _bisect(self, first: int, halvings: int) -> None:
        start, low = self.images, torch.zeros_like(self.pull)
        high = torch.ones_like(low)
        for halving in range(halvings):
            middle = (low + high) / 2
            tried = torch.lerp(self.clean, start, middle[:, None, None, None])
            won, _ = self.asker.ask(self.rows, tried, first + halving)
            self.images = torch.where(won[:, None, None, None], tried, self.images)
            low, high = torch.where(won, low, middle), torch.where(won, middle, high)

    def _draw(self, block: int) -> None:
        """Noise of the next moves: exponential variables, by which places are chosen, and normal ones."""
        index, seed = self.asker.index[self.rows], self.asker.view.seed
        places = uniform(index, Draw(seed, Stream.ATTACK, block, _Noise.PLACES), (_BLOCK, self.variances.shape[1]))
        self.races = -torch.log1p(-places)
        self.sizes = normal(index, Draw(seed, Stream.ATTACK, block, _Noise.SIZES), (_BLOCK, self.moved_at_once))

    def _noise(self, place: int) -> Tensor:
        """Noise (n, pixels of the grid) at some places, drawn without replacement in proportion to the variances."""
        race = self.races[:, place] / self.variances.clamp_min(_TINY)
        places = race.topk(self.moved_at_once, dim=1, largest=False).indices
        sizes = self.sizes[:, place] * self.variances.gather(1, places).sqrt()
        return torch.zeros_like(self.variances).scatter_(1, places, sizes)

    def _nearer(self, step: Tensor) -> Images:
        """Pulled toward the clean image, pushed by the noise, and put back to the distance that the pull gave."""
        small = step.reshape(len(step), *self.small)
        push = functional.interpolate(small, self.clean.shape[2:], mode="bilinear", align_corners=False)
        change = self.images - self.clean
        distance = norm(change)
        reach = distance * (1 - self.pull[:, None, None, None])
        change = change * (1 - self.pull[:, None, None, None])
        change = change + push * (self.attack.sigma * distance / norm(push).clamp_min(_TINY))
        return (self.clean + change * (reach / norm(change).clamp_min(_TINY))).clamp_(0, 1)

    def _learn(self, won: Mask, step: Tensor) -> None:
        kept, learning = 1 - self.attack.c_c, self.attack.c_cov
        path = kept * self.path + math.sqrt(1 - kept**2) * step
        variances = (1 - learning) * self.variances + learning * path.square()
        self.path = torch.where(won[:, None], path, self.path)
        self.variances = torch.where(won[:, None], variances, self.variances)
