"""The decision-based evolutionary attack: a (1+1)-CMA-ES with a diagonal covariance, per pair.

Dong et al., "Efficient decision-based black-box adversarial attacks on face recognition", CVPR 2019, Algorithm 1. From
an adversarial image, mutations toward the clean image are drawn in a low-dimensional space and kept if they are still
adversarial.

The method: docs/methods/minimal_perturbation_attacks.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor
from torch.nn import functional

from frbench.attacks.square import allowance
from frbench.harness.core.contracts import Attack, AttackResult, Budget, Draw, Goal, Images, Mask, Scores, View
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
_MAX_MU = 0.9
_TINY = 1e-12


class _Noise(IntEnum):
    """Purpose of a draw: its ``k``."""

    START = 0
    COORDINATES = 1
    VALUES = 2


@dataclass(frozen=True)
class Evolutionary(Attack):
    """Makes an adversarial perturbation smaller by decisions alone: scores are only compared with the aim.

    Attributes:
        queries: scores per pair at most.
        votes: scores per decision, by majority; more than one for random victims.
        tries: initial images: the goal's target and, while none is adversarial, images of noise.
        bisections: bisections of the line from the initial to the clean image.
        grid: mutations are drawn with grid x grid pixels and upsampled.
        coordinate_fraction: fraction of these coordinates that a mutation changes.
        mu: initial fraction of the distance to the clean image by which a mutation approaches it.
        sigma: norm of the mutation, in units of the distance to the clean image.
        c_c: decay of the evolution path.
        c_cov: learning rate of the covariance.
        window: mutations between updates of ``mu`` by the 1/5 success rule.

    The clean image is not queried: only pairs that the victim decides correctly are attacked.
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

    def check_combination(self, where: str) -> None:
        if self.votes > self.queries:
            raise ConfigError(f"{where}.votes={self.votes} is above {where}.queries={self.queries}: lower the votes")

    @torch.no_grad()
    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; ``budget`` is ignored and ``iterations`` are decisions.

        A pair without an adversarial initial image fails.
        """
        decisions = allowance(self.queries, view) // self.votes
        oracle, tries = _DecisionOracle(view, goal, pairs, self.votes), min(self.tries, decisions)
        images, attempts = self._initial(oracle, pairs, tries)
        for attempt in range(tries):  # pairs with equally many decisions left run together
            rows = (attempts == attempt).nonzero().flatten()
            if len(rows):
                search = _Search(self, oracle, rows, pairs.probe[rows], images[rows])
                images[rows] = search.run(first=tries, decisions=decisions - attempt - 1)
        found = attempts >= 0
        return AttackResult(images, found, torch.where(found, decisions, tries))

    def _initial(self, oracle: _DecisionOracle, pairs: PairBatch, tries: int) -> tuple[Images, Tensor]:
        """Initial images, adversarial or of lowest loss, and the attempt (N,) that found them; -1 for a failure."""
        images, attempts = pairs.probe.clone(), torch.full_like(pairs.index, -1)
        least = torch.full((len(pairs),), torch.inf, device=attempts.device)
        rows = torch.arange(len(pairs), device=attempts.device)
        for attempt in range(tries):
            if not len(rows):
                break
            draw = Draw(oracle.view.seed, Stream.ATTACK, attempt, _Noise.START)
            tried = uniform(pairs.index[rows], draw, tuple(images.shape[1:])) if attempt else oracle.goal.target(pairs)
            adversarial, loss = oracle.decide(rows, tried, attempt)
            better = adversarial | (loss < least[rows])
            images[rows[better]], least[rows[better]] = tried[better], loss[better]
            attempts[rows[adversarial]] = attempt
            rows = rows[~adversarial]
        return images, attempts


class _DecisionOracle:
    """Decisions about the pairs of one batch, each by the majority of ``votes`` scores."""

    def __init__(self, view: View, goal: Goal, pairs: PairBatch, votes: int) -> None:
        self.view, self.goal, self.votes, self.index = view, goal, votes, pairs.index
        self.template, self.aim = view.enroll(pairs), view.aim(goal, pairs.index)

    def decide(self, rows: Tensor, images: Images, step: int) -> tuple[Mask, Scores]:
        """Whether ``images`` (n, C, H, W) of the pairs ``rows`` are adversarial, and their mean loss (n,)."""
        template, draws = self.template[rows], range(step * self.votes, (step + 1) * self.votes)
        scores = torch.stack([self.view.score(images, template, draw) for draw in draws])
        adversarial = self.goal.achieved(scores, self.aim[rows]).sum(dim=0) * 2 > self.votes
        return adversarial, self.goal.loss(scores).mean(dim=0)


class _Search:
    """The evolution of several pairs, one row each, from adversarial images toward the clean images."""

    def __init__(
        self, attack: Evolutionary, oracle: _DecisionOracle, rows: Tensor, clean: Images, images: Images
    ) -> None:
        self.attack, self.oracle, self.rows, self.clean, self.images = attack, oracle, rows, clean, images
        self.small = (clean.shape[1], *(min(attack.grid, edge) for edge in clean.shape[2:]))
        self.variances = torch.ones(len(rows), math.prod(self.small), device=clean.device)
        self.path = torch.zeros_like(self.variances)
        self.mu = torch.full_like(self.variances[:, 0], attack.mu)
        self.coordinates = max(1, int(self.variances.shape[1] * attack.coordinate_fraction))

    def run(self, first: int, decisions: int) -> Images:
        """The nearest adversarial images after ``decisions`` decisions, numbered from ``first``."""
        attack, halvings = self.attack, min(self.attack.bisections, decisions)
        self._bisect(first, halvings)
        successes = torch.zeros_like(self.mu)
        for mutation in range(decisions - halvings):
            if mutation % _BLOCK == 0:
                self._draw(mutation // _BLOCK)
            noise = self._noise(mutation % _BLOCK)
            tried = self._mutated(noise)
            adversarial, _ = self.oracle.decide(self.rows, tried, first + attack.bisections + mutation)
            self.images = torch.where(adversarial[:, None, None, None], tried, self.images)
            self._adapt(adversarial, noise)
            successes += adversarial
            if (mutation + 1) % attack.window == 0:
                self.mu = (self.mu * torch.exp(successes / attack.window - 0.2)).clamp_max(_MAX_MU)
                successes = torch.zeros_like(successes)
        return self.images

    def _bisect(self, first: int, halvings: int) -> None:
        initial, low = self.images, torch.zeros_like(self.mu)
        high = torch.ones_like(low)
        for halving in range(halvings):
            middle = (low + high) / 2
            tried = torch.lerp(self.clean, initial, middle[:, None, None, None])
            adversarial, _ = self.oracle.decide(self.rows, tried, first + halving)
            self.images = torch.where(adversarial[:, None, None, None], tried, self.images)
            low, high = torch.where(adversarial, low, middle), torch.where(adversarial, middle, high)

    def _draw(self, block: int) -> None:
        """Random numbers of the next mutations: exponential ones to choose coordinates, normal ones for the values."""
        index, seed = self.oracle.index[self.rows], self.oracle.view.seed
        draw = Draw(seed, Stream.ATTACK, block, _Noise.COORDINATES)
        self.exponentials = -torch.log1p(-uniform(index, draw, (_BLOCK, self.variances.shape[1])))
        self.normals = normal(index, Draw(seed, Stream.ATTACK, block, _Noise.VALUES), (_BLOCK, self.coordinates))

    def _noise(self, place: int) -> Tensor:
        """Noise (n, coordinates) on coordinates that are drawn without replacement, in proportion to the variances."""
        race = self.exponentials[:, place] / self.variances.clamp_min(_TINY)
        chosen = race.topk(self.coordinates, dim=1, largest=False).indices
        values = self.normals[:, place] * self.variances.gather(1, chosen).sqrt()
        return torch.zeros_like(self.variances).scatter_(1, chosen, values)

    def _mutated(self, noise: Tensor) -> Images:
        """The images plus upsampled noise, scaled to ``1 - mu`` times their distance to the clean image."""
        small = noise.reshape(len(noise), *self.small)
        upsampled = functional.interpolate(small, self.clean.shape[2:], mode="bilinear", align_corners=False)
        change = self.images - self.clean
        distance = norm(change)
        target = distance * (1 - self.mu[:, None, None, None])
        change = change * (1 - self.mu[:, None, None, None])
        change = change + upsampled * (self.attack.sigma * distance / norm(upsampled).clamp_min(_TINY))
        return (self.clean + change * (target / norm(change).clamp_min(_TINY))).clamp_(0, 1)

    def _adapt(self, adversarial: Mask, noise: Tensor) -> None:
        """Update the evolution path and the covariance of the pairs whose mutation was adversarial."""
        kept, c_cov = 1 - self.attack.c_c, self.attack.c_cov
        path = kept * self.path + math.sqrt(1 - kept**2) * noise
        variances = (1 - c_cov) * self.variances + c_cov * path.square()
        self.path = torch.where(adversarial[:, None], path, self.path)
        self.variances = torch.where(adversarial[:, None], variances, self.variances)
