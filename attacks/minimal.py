"""The smallest radius at which a bounded attack succeeds: doubling, then bisection, per pair.

As ``binsearch_alpha`` of RobFR (Yang et al., 2020), and with ``grid`` as its ``binsearch_basic``.

The method: docs/methods/minimal_perturbation_attacks.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from frbench.attacks.components.minimization import SmallestPerturbations
from frbench.harness.core.contracts import Attack, AttackResult, Budget, Goal, Images, View
from frbench.harness.core.domains import NonNegativeInt, PositiveInt
from frbench.harness.core.face_data import PairBatch

_SHRINK = 4  # divisor of the radius while no radius has failed, so that there is no lower bound yet


class BudgetWithRadius(Budget, Protocol):
    """A budget that has a radius."""

    @property
    def radius(self) -> float | Tensor: ...


@dataclass(frozen=True)
class Minimal(Attack):
    """Runs ``inner`` at different radii of ``budget`` and keeps the smallest adversarial image of each pair.

    Attributes:
        inner: the bounded attack.
        budget: measures the perturbation; its radius is the first one tried.
        doublings: radii tried until a pair succeeds, each twice the previous one.
        grid: after the first success, number of equal parts of that radius that are tried one by one, for attacks that
            may fail at a larger radius than one at which they succeed, as a single step does; 0 for none.
        bisections: steps of the binary search between the largest failure and the smallest success; while no radius
            has failed, a step tries a quarter of the smallest success.
    """

    identity = "attack.minimal_radius"
    version = 1

    inner: Attack
    budget: BudgetWithRadius
    doublings: PositiveInt = 5
    grid: NonNegativeInt = 0
    bisections: NonNegativeInt = 10

    bounded = False
    stops_early = True

    @property
    def needs_gradient(self) -> bool:
        return self.inner.needs_gradient

    @property
    def batch_dependent(self) -> bool:
        return self.inner.batch_dependent

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; the ``budget`` of the call is ignored. ``iterations`` are the sum over all runs."""
        search = RadiusSearch(self.inner, self.budget, view, pairs, goal)
        radius = torch.full_like(search.found.size, self._first_radius())
        low, every = torch.zeros_like(radius), torch.arange(len(pairs), device=pairs.index.device)
        search.score_clean(every)
        failing = every[~search.found.achieved]
        for _ in range(self.doublings):
            failed = failing[~search.attempt(failing, radius[failing])]
            low[failed] = radius[failed]
            radius[failed] *= 2
            failing = failed
        rows = every[search.found.achieved & (search.found.size > 0)]
        for part in range(1, self.grid):
            search.attempt(rows, radius[rows] * (1 - part / self.grid))
        if self.grid:
            low[rows] = (search.found.size[rows] - radius[rows] / self.grid).clamp_min(0)
        for _ in range(self.bisections):
            below, above = low[rows], search.found.size[rows]
            middle = torch.where(below > 0, (below + above) / 2, above / _SHRINK)
            low[rows] = torch.where(search.attempt(rows, middle), below, middle).minimum(search.found.size[rows])
        return search.found.result()

    def _first_radius(self) -> float:
        self.budget.resized(1.0)  # raises where the budget has no radius
        return float(self.budget.radius)


@dataclass
class RadiusSearch:
    """Runs of ``inner`` on one batch at different radii, and the smallest adversarial image of each pair."""

    inner: Attack
    budget: Budget
    view: View
    pairs: PairBatch
    goal: Goal

    def __post_init__(self) -> None:
        self.found = SmallestPerturbations(self.goal, self.pairs.probe, self.view.aim(self.goal, self.pairs.index))
        self.template = self.view.enroll(self.pairs)

    def score_clean(self, rows: Tensor) -> None:
        """Pairs whose clean image achieves the goal have a perturbation of size zero."""
        self._update(rows, self.pairs.probe, torch.zeros_like(self.found.size))

    def attempt(self, rows: Tensor, radius: Tensor) -> Tensor:
        """Attack the pairs ``rows`` with radii (n,) of their own; which of them succeed."""
        if not len(rows):
            return rows.bool()
        part = self.pairs[rows]
        result = self.inner(self.view, part, self.goal, self.budget.resized(radius))
        self.found.iterations[rows] += result.iterations
        return self._update(rows, result.images, self.budget.size(result.images, part.probe))

    @torch.no_grad()
    def _update(self, rows: Tensor, images: Images, size: Tensor) -> Tensor:
        scores = self.view.final_score(images, self.template[rows])
        return self.found.update(rows, images, scores, size)
