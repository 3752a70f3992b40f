"""Checks of every attack for signs of gradient masking and other failures, as flags with the figures behind them.

A defense that only hides its gradients looks robust to attacks that follow them. The checks are those of the
literature on gradient masking (Athalye, Carlini, Wagner, ICML 2018; Carlini et al., arXiv 1902.06705; Pintor et al.,
NeurIPS 2022), applied to verification. A flag does not say that a figure is wrong: it says what must be explained
before the figure is believed.

The method: docs/methods/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from frbench.harness.core.contracts import Budget, Draw, Images, View
from frbench.harness.core.counter_rng import Stream, normal, uniform
from frbench.harness.core.domains import Cosine, CosineGap, Fraction, PositiveInt
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.flags import Flag
from frbench.harness.evaluation.crafting import Crafting, enforce_budget
from frbench.harness.evaluation.judge import Judge

_LARGE_CHANGE = 64 / 255  # a quarter of the range: practically unbounded
_DIFFERENCE = 4 / 255  # step of finite differences, as large as the changes of attacks and far above float rounding
_DIRECTIONS, _GRID = 8, 8


@dataclass(frozen=True)
class Evidence:
    """What the checks examine. table: one row per attacked pair, from ``judge``; crafting, judge: for further runs."""

    table: pd.DataFrame
    crafting: Crafting
    judge: Judge

    @property
    def counted(self) -> pd.DataFrame:
        """The pairs that the victim decides correctly without attack."""
        return self.table[self.table["correct"]]

    def knows_victim(self, view: View) -> bool:
        """Whether the view has the thresholds of the victim, as the victim itself and its relaxations have."""
        return torch.equal(view.thresholds.cpu(), torch.from_numpy(self.judge.thresholds).float())

    def informed_views(self) -> dict[str, View]:
        """The views that know the victim, or all views where none does."""
        views = self.crafting.views
        return {name: view for name, view in views.items() if self.knows_victim(view)} or dict(views)

    def sample(self, size: int) -> PairBatch | None:
        """The first ``size`` counted pairs, or None where no pair is counted."""
        index = self.counted["index"].to_numpy(copy=True)[:size]
        return self.crafting.data.batch(index, self.crafting.execution.device) if len(index) else None

    def batches(self, pairs: PairBatch) -> list[PairBatch]:
        """``pairs``, as many at a time as the cell allows."""
        rows = torch.arange(len(pairs), device=pairs.index.device)
        return [pairs[rows[part]] for part in self.crafting.execution.batches(len(pairs))]


@dataclass(frozen=True)
class AuditResult:
    """The figure of each check, None where it does not apply, and the flags of the checks that failed."""

    level: str
    figures: Mapping[Flag, float | None]
    flags: list[Flag]

    def measurements(self) -> dict[str, Any]:
        return {"level": self.level, "figures": dict(self.figures), "flags": list(self.flags)}


Check = Callable[[Evidence], float | None]

_LOWER_IS_WORSE = (Flag.FROZEN_PIXELS, Flag.NO_BETTER_THAN_NOISE, Flag.FAILS_UNBOUNDED, Flag.GRADIENT_MISMATCH)


@dataclass(frozen=True)
class Audit:
    """The checks and their limits.

    ``basic`` checks use what the attack left behind; with ``full``, further checks run the attack and the victim on
    ``sample`` pairs. The other fields are limits, each a share or a cosine, named by the flag that they raise;
    ``late_gain`` is the late share of the loss decrease above which a pair counts as not converged.
    """

    identity = "audit.checks"
    version = 1

    full: bool = False
    sample: PositiveInt = 32
    zero_gradients: Fraction = 0.01
    nonfinite_gradients: Fraction = 0.0
    frozen_pixels: Fraction = 0.1
    not_converged: Fraction = 0.05
    late_gain: Fraction = 0.05
    no_better_than_noise: Fraction = 0.75
    budget_violated: Fraction = 0.0
    unstable_under_redraw: Fraction = 0.1
    not_reproducible: CosineGap = 1e-3
    fails_unbounded: Fraction = 0.99
    gradient_mismatch: Cosine = 0.3

    def examine(self, evidence: Evidence) -> AuditResult:
        """Run all checks of this level on one cell."""
        figures = {flag: check(evidence) for flag, check in self._checks().items()}
        limits = self._limits()
        flags = []
        for flag, figure in figures.items():
            if figure is not None and (figure < limits[flag] if flag in _LOWER_IS_WORSE else figure > limits[flag]):
                flags.append(flag)
        return AuditResult("full" if self.full else "basic", figures, flags)

    def _limits(self) -> dict[Flag, float]:
        return {
            Flag.ZERO_GRADIENTS: self.zero_gradients,
            Flag.NONFINITE_GRADIENTS: self.nonfinite_gradients,
            Flag.FROZEN_PIXELS: self.frozen_pixels,
            Flag.NOT_CONVERGED: self.not_converged,
            Flag.NO_BETTER_THAN_NOISE: self.no_better_than_noise,
            Flag.BUDGET_VIOLATED: self.budget_violated,
            Flag.UNSTABLE_UNDER_REDRAW: self.unstable_under_redraw,
            Flag.NOT_REPRODUCIBLE: self.not_reproducible,
            Flag.FAILS_UNBOUNDED: self.fails_unbounded,
            Flag.GRADIENT_MISMATCH: self.gradient_mismatch,
        }

    def _checks(self) -> dict[Flag, Check]:
        basic: dict[Flag, Check] = {
            Flag.ZERO_GRADIENTS: lambda e: _share_of_gradients(e, "zero_gradients"),
            Flag.NONFINITE_GRADIENTS: lambda e: _share_of_gradients(e, "nonfinite_gradients"),
            Flag.FROZEN_PIXELS: _saturated_movement,
            Flag.NOT_CONVERGED: self._share_not_converged,
            Flag.NO_BETTER_THAN_NOISE: _share_better_than_noise,
            Flag.BUDGET_VIOLATED: lambda e: float(e.table["exceeded"].mean()),
            Flag.UNSTABLE_UNDER_REDRAW: _disagreement_of_draws,
            Flag.NOT_REPRODUCIBLE: self._difference_of_repeats,
        }
        further: dict[Flag, Check] = {
            Flag.FAILS_UNBOUNDED: self._unbounded_success,
            Flag.GRADIENT_MISMATCH: self._gradient_agreement,
        }
        return basic | further if self.full else basic

    def _share_not_converged(self, evidence: Evidence) -> float | None:
        """Share of the counted pairs whose attack failed while its loss was still falling."""
        counted = evidence.counted
        return _mean(~counted["achieved"] & (counted["late_gain"] > self.late_gain))

    def _difference_of_repeats(self, evidence: Evidence) -> float | None:
        """Largest difference of two scores of the same images on the same draw."""
        pairs = evidence.sample(self.sample)
        return None if pairs is None else evidence.judge.victim_scores.difference_of_repeats(pairs.index.cpu().numpy())

    def _unbounded_success(self, evidence: Evidence) -> float | None:
        """Success rate of the attack with a practically unbounded budget, on the victim as far as a view knows it."""
        crafting, judge, pairs = evidence.crafting, evidence.judge, evidence.sample(self.sample)
        if pairs is None:
            return None
        if not crafting.attack.bounded:  # the attack itself was unbounded
            return _mean(evidence.counted["achieved"])
        budget = _practically_unbounded(crafting.budget, pairs)

        def success(view: View, batch: PairBatch) -> Tensor:
            result = crafting.attack(view, batch, crafting.goal, budget)
            images, broken, _ = enforce_budget(crafting.attack, result, batch.probe, budget)
            if evidence.knows_victim(view):
                achieved = judge.achieved(judge.scores(images, batch, judge.enroll(batch)), batch)
            else:
                achieved = result.achieved.cpu()
            return achieved & ~broken.cpu()

        views, batches = evidence.informed_views().values(), evidence.batches(pairs)
        each = [torch.cat([success(view, batch) for batch in batches]) for view in views]
        return float(torch.stack(each).any(dim=0).double().mean())

    def _gradient_agreement(self, evidence: Evidence) -> float | None:
        """Cosine between the slopes that the view's gradient predicts and finite differences of the victim's loss.

        Both are slopes along a few directions, the signs of the gradient and variants with blocks reversed. The figure
        is the median over pairs for the worst view, None where no view has gradients.
        """
        pairs = evidence.sample(self.sample)
        views = [view for view in evidence.informed_views().values() if view.verifier.differentiable]
        if pairs is None or not views or not evidence.crafting.attack.needs_gradient:
            return None
        batches = evidence.batches(pairs)
        cosines = [torch.cat([_slope_cosine(evidence, view, batch) for batch in batches]) for view in views]
        return min(float(each.median()) for each in cosines)


def _mean(column: pd.Series) -> float | None:
    return float(column.mean()) if len(column) else None


def _share_of_gradients(evidence: Evidence, column: str) -> float | None:
    """Share of all gradients that ``column`` counts."""
    total = int(evidence.table["gradients"].sum())
    return int(evidence.table[column].sum()) / total if total else None


def _saturated_movement(evidence: Evidence) -> float | None:
    """How often values at 0 or 1 changed, relative to other values. None where almost no value is at 0 or 1."""
    rows = evidence.table[evidence.table["saturated"] > 0.001]
    inner = float(rows["inner_moved"].mean()) if len(rows) else 0.0
    return float(rows["saturated_moved"].mean()) / inner if inner > 0.01 else None


def _share_better_than_noise(evidence: Evidence) -> float | None:
    """Share of the counted pairs on which the attack has a lower loss than random noise of the same size."""
    counted, goal = evidence.counted, evidence.crafting.goal

    def loss(column: str) -> np.ndarray:
        return goal.loss(torch.tensor(counted[column].to_numpy())).numpy()

    return _mean(pd.Series(loss("adversarial_score") < loss("noise_score")))


def _disagreement_of_draws(evidence: Evidence) -> float | None:
    """Share of the counted pairs on which the decisions of a random victim differ between draws."""
    counted = evidence.counted
    if not len(counted) or int(counted["draws"].max()) == 1:
        return None
    return _mean((counted["wins"] > 0) & (counted["wins"] < counted["draws"]))


def _practically_unbounded(budget: Budget, pairs: PairBatch) -> Budget:
    """``budget`` with a radius that allows a change of every value by a quarter of the range."""
    changed = torch.where(pairs.probe < 0.5, pairs.probe + _LARGE_CHANGE, pairs.probe - _LARGE_CHANGE)
    return budget.resized(float(budget.size(changed, pairs.probe).max()))


def _slope_cosine(evidence: Evidence, view: View, pairs: PairBatch) -> Tensor:
    """Cosine (n,) over a few directions; 0 where the gradient or the measured slopes vanish."""
    goal, shape = evidence.crafting.goal, tuple(pairs.probe.shape[1:])
    images = pairs.probe + _DIFFERENCE / 4 * normal(pairs.index, Draw(view.seed, Stream.AUDIT), shape)
    images = images.clamp(0, 1).requires_grad_(True)
    (gradient,) = torch.autograd.grad(goal.loss(view.score(images, view.enroll(pairs))).sum(), images)
    images, gradient = images.detach(), torch.nan_to_num(gradient)
    loss = _victim_loss(evidence, view, pairs)
    predicted, measured = [], []
    for direction in _directions(gradient, pairs, view.seed):
        predicted.append((gradient * direction).flatten(1).sum(dim=1))
        ahead, behind = loss(images + _DIFFERENCE * direction), loss(images - _DIFFERENCE * direction)
        measured.append((ahead - behind) / (2 * _DIFFERENCE))
    one, other = torch.stack(predicted, dim=1).cpu(), torch.stack(measured, dim=1).cpu()
    return torch.nn.functional.cosine_similarity(one, other.to(one.dtype), dim=1)


def _directions(gradient: Tensor, pairs: PairBatch, seed: int) -> list[Tensor]:
    """The signs of the gradient, and variants of them with random blocks reversed; all of one size."""
    signs, side = gradient.sign(), gradient.shape[-2:]
    directions = [signs]
    for number in range(1, _DIRECTIONS):
        blocks = uniform(pairs.index, Draw(seed, Stream.AUDIT, k=number), (1, _GRID, _GRID)) - 0.5
        directions.append(signs * torch.nn.functional.interpolate(blocks, size=side).sign())
    return directions


def _victim_loss(evidence: Evidence, view: View, pairs: PairBatch) -> Callable[[Images], Tensor]:
    """The attacker's loss (n,) on the victim, or on its own view where that does not know the victim."""
    goal, judge = evidence.crafting.goal, evidence.judge
    if not evidence.knows_victim(view):
        template = view.enroll(pairs)
        return torch.no_grad()(lambda images: goal.loss(view.score(images, template)))
    references = judge.enroll(pairs)
    return lambda images: goal.loss(judge.scores(images, pairs, references).mean(dim=1))
