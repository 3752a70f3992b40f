"""The smallest change with which an attack on a budget succeeds: doubling, then bisection, each pair with its radius.

specs/ensemble_attacks 6.5 (code: RobFR benchmark/utils.py, binsearch_alpha; with ``grid`` binsearch_basic).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from frbench.attacks.components.minimization import Smallest
from frbench.harness.core.contracts import Attack, AttackResult, Budget, Goal, Images, View
from frbench.harness.core.domains import NonNegativeInt, PositiveInt
from frbench.harness.core.face_data import PairBatch

_SHRINK = 4  # while no radius has failed: how small the change will be is not known yet


class Sized(Budget, Protocol):
    """A budget that has a radius."""

    @property
    def radius(self) -> float | Tensor: ...


@dataclass(frozen=True)
class Minimal:
    """Run ``inner`` again and again under ``budget`` at other radii; of each pair the smallest image that succeeds.

    budget:     whose size counts; its radius is where the search begins.
    doublings:  radii tried at most until a pair succeeds, each twice the last.
    grid:       after the first success, equal parts of that radius tried one by one, for an attack that may fail at a
                radius larger than one with which it succeeds, as a single step does; 0 for none.
    bisections: between the largest failure and the smallest success; quarters of the latter while nothing has failed.
    """

    identity = "attack.minimal_radius"
    version = 1

    inner: Attack
    budget: Sized
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
        """Attack ``pairs``; the ``budget`` of the call is not looked at. ``iterations`` are those of all runs."""
        hunt = Hunt(self.inner, self.budget, view, pairs, goal)
        radius = torch.full_like(hunt.found.size, self._start())
        low, every = torch.zeros_like(radius), torch.arange(len(pairs), device=pairs.index.device)
        hunt.clean(every)
        standing = every[~hunt.found.achieved]
        for _ in range(self.doublings):
            failed = standing[~hunt.attempt(standing, radius[standing])]
            low[failed] = radius[failed]
            radius[failed] *= 2
            standing = failed
        rows = every[hunt.found.achieved & (hunt.found.size > 0)]
        for part in range(1, self.grid):
            hunt.attempt(rows, radius[rows] * (1 - part / self.grid))
        if self.grid:
            low[rows] = (hunt.found.size[rows] - radius[rows] / self.grid).clamp_min(0)
        for _ in range(self.bisections):
            below, above = low[rows], hunt.found.size[rows]
            middle = torch.where(below > 0, (below + above) / 2, above / _SHRINK)
            low[rows] = torch.where(hunt.attempt(rows, middle), below, middle).minimum(hunt.found.size[rows])
        return hunt.found.result()

    def _start(self) -> float:
        self.budget.resized(1.0)  # says itself where there is no radius
        return float(self.budget.radius)


@dataclass
class Hunt:
    """One batch under search."""

    inner: Attack
    budget: Budget
    view: View
    pairs: PairBatch
    goal: Goal

    def __post_init__(self) -> None:
        self.found = Smallest(self.goal, self.pairs.probe, self.view.aim(self.goal, self.pairs.index))
        self.template = self.view.enroll(self.pairs)

    def clean(self, rows: Tensor) -> None:
        """Pairs that are where the attacker wants them have a change of size zero."""
        self._offer(rows, self.pairs.probe, torch.zeros_like(self.found.size))

    def attempt(self, rows: Tensor, radius: Tensor) -> Tensor:
        """Attack the pairs ``rows`` with radii of their own (N,); which of them succeeded."""
        if not len(rows):
            return rows.bool()
        part = self.pairs[rows]
        result = self.inner(self.view, part, self.goal, self.budget.resized(radius))
        self.found.iterations[rows] += result.iterations
        return self._offer(rows, result.images, self.budget.size(result.images, part.probe))

    @torch.no_grad()
    def _offer(self, rows: Tensor, images: Images, size: Tensor) -> Tensor:
        scores = self.view.final_score(images, self.template[rows])
        return self.found.offer(rows, images, scores, size)
