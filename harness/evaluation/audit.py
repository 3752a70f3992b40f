"""Whether to believe an attack: checks on every cell, as flags with the figures behind them.

A defense that only hides its gradients looks strong until somebody looks at the attack. The checks are those of the
masking literature (Athalye, Carlini, Wagner, ICML 2018; Carlini et al., arXiv 1902.06705; Pintor et al., NeurIPS 2022)
in terms of verification. A flag does not say that a figure is wrong: it says what must be explained before it is
believed.
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
from frbench.harness.evaluation.crafting import Crafting, enforced
from frbench.harness.evaluation.judge import Judge

_WIDE = 64 / 255  # as good as no limit: a quarter of the range
_PROBE = 4 / 255  # of finite differences: the size at which attacks work, not that of float noise
_DIRECTIONS, _GRID = 8, 8


@dataclass(frozen=True)
class Evidence:
    """table: one row per attacked pair, as the judge has it; crafting and judge for what must be run again."""

    table: pd.DataFrame
    crafting: Crafting
    judge: Judge

    @property
    def counted(self) -> pd.DataFrame:
        return self.table[self.table["correct"]]

    def sees_the_victim(self, view: View) -> bool:
        """Whether the attacker looks at what judges (or its stand-in): then their thresholds are the same."""
        lines = torch.from_numpy(self.judge.thresholds).float()
        return torch.equal(view.thresholds.cpu(), lines)

    def informed(self) -> dict[str, View]:
        """The views of the victim; of an attacker that has none of them, all."""
        views = self.crafting.views
        return {name: view for name, view in views.items() if self.sees_the_victim(view)} or dict(views)


@dataclass(frozen=True)
class Audited:
    """figures: what was measured, by check, None where it does not apply; flags: the checks that failed."""

    level: str
    figures: Mapping[Flag, float | None]
    flags: list[Flag]

    def measurements(self) -> dict[str, Any]:
        return {"level": self.level, "figures": dict(self.figures), "flags": list(self.flags)}


Check = Callable[[Evidence], float | None]

_LOWER_IS_WORSE = (Flag.FROZEN_PIXELS, Flag.NO_BETTER_THAN_NOISE, Flag.WEAK_WITHOUT_LIMIT, Flag.MISLEADING_GRADIENT)


@dataclass(frozen=True)
class Audit:
    """``cheap`` looks at what the attack left behind; ``full`` runs on ``sample`` pairs what needs runs of its own.

    The other fields are limits, each a share or a cosine; see the check of that name.
    """

    identity = "audit.checks"
    version = 1

    full: bool = False
    sample: PositiveInt = 32
    zero_gradients: Fraction = 0.01
    nonfinite_gradients: Fraction = 0.0
    frozen_pixels: Fraction = 0.1
    still_rising: Fraction = 0.05
    late_gain: Fraction = 0.05
    no_better_than_noise: Fraction = 0.75
    budget_violated: Fraction = 0.0
    unstable_under_redraw: Fraction = 0.1
    not_reproducible: CosineGap = 1e-3
    weak_without_limit: Fraction = 0.99
    misleading_gradient: Cosine = 0.3

    def examine(self, evidence: Evidence) -> Audited:
        """All checks of this level on one cell."""
        figures = {name: check(evidence) for name, check in self._checks().items()}
        flags = []
        for name, figure in figures.items():
            limit = getattr(self, name)
            if figure is not None and (figure < limit if name in _LOWER_IS_WORSE else figure > limit):
                flags.append(name)
        return Audited("full" if self.full else "cheap", figures, flags)

    def _checks(self) -> dict[Flag, Check]:
        cheap: dict[Flag, Check] = {
            Flag.ZERO_GRADIENTS: lambda e: _share_of_gradients(e, "zero_gradients"),
            Flag.NONFINITE_GRADIENTS: lambda e: _share_of_gradients(e, "nonfinite_gradients"),
            Flag.FROZEN_PIXELS: _saturated_against_inner,
            Flag.STILL_RISING: self._rising,
            Flag.NO_BETTER_THAN_NOISE: _better_than_noise,
            Flag.BUDGET_VIOLATED: lambda e: float(e.table["exceeded"].mean()),
            Flag.UNSTABLE_UNDER_REDRAW: _disagreement_of_draws,
            Flag.NOT_REPRODUCIBLE: self._difference_of_repeats,
        }
        thorough: dict[Flag, Check] = {
            Flag.WEAK_WITHOUT_LIMIT: self._success_without_limit,
            Flag.MISLEADING_GRADIENT: self._agreement_with_differences,
        }
        return cheap | thorough if self.full else cheap

    def _rising(self, evidence: Evidence) -> float | None:
        """Of the counted pairs, the share that the attacker had not won and whose loss fell to the end."""
        counted = evidence.counted
        return _mean(~counted["achieved"] & (counted["late_gain"] > self.late_gain))

    def _batch(self, evidence: Evidence) -> PairBatch | None:
        index = evidence.counted["index"].to_numpy(copy=True)[: self.sample]
        return evidence.crafting.data.batch(index, evidence.crafting.device) if len(index) else None

    def _difference_of_repeats(self, evidence: Evidence) -> float | None:
        """Largest difference of scores of the same images asked twice on the same draw."""
        pairs = self._batch(evidence)
        if pairs is None:
            return None
        once, again = (evidence.judge.scores(pairs.probe, pairs, evidence.judge.enroll(pairs)) for _ in range(2))
        return float((once - again).abs().max())

    def _success_without_limit(self, evidence: Evidence) -> float | None:
        """Success of the same attack with a radius as good as none, before what it looks at."""
        crafting, pairs = evidence.crafting, self._batch(evidence)
        if pairs is None:
            return None
        if not crafting.attack.bounded:  # it had no limit in the first place
            return _mean(evidence.counted["achieved"])
        budget = _wide(crafting.budget, pairs)
        won = torch.zeros(len(pairs), dtype=torch.bool)
        for view in evidence.informed().values():
            result = crafting.attack(view, pairs, crafting.goal, budget)
            images, broken, _ = enforced(crafting.attack, result, pairs.probe, budget)
            if evidence.sees_the_victim(view):
                won |= self._before_the_judge(evidence, images, pairs) & ~broken.cpu()
            else:
                won |= (result.achieved & ~broken).cpu()
        return float(won.double().mean())

    def _before_the_judge(self, evidence: Evidence, images: Images, pairs: PairBatch) -> Tensor:
        judge = evidence.judge
        scores = judge.scores(images, pairs, judge.enroll(pairs)).median(dim=1).values.double()
        return judge.goal.achieved(scores, torch.from_numpy(judge.thresholds[pairs.index.cpu().numpy()]))

    def _agreement_with_differences(self, evidence: Evidence) -> float | None:
        """Cosine between the slopes that the attacker's gradient promises and those measured on what judges.

        Both are slopes of the loss along a few directions, the gradient's signs and variants with blocks reversed, per
        pair; the figure is the median over pairs, of the worst view. None where no view has gradients.
        """
        pairs = self._batch(evidence)
        looks = [view for view in evidence.informed().values() if view.verifier.differentiable]
        if pairs is None or not looks or not evidence.crafting.attack.needs_gradient:
            return None
        return min(float(_agreement(evidence, view, pairs).median()) for view in looks)


def _mean(column: pd.Series) -> float | None:
    return float(column.mean()) if len(column) else None


def _share_of_gradients(evidence: Evidence, which: str) -> float | None:
    """Of all gradients that the attack took, the share that was zero (or not finite) throughout."""
    taken = int(evidence.table["gradients"].sum())
    return int(evidence.table[which].sum()) / taken if taken else None


def _saturated_against_inner(evidence: Evidence) -> float | None:
    """How often values at 0 or 1 moved, as a share of how often others did. None where there are hardly any."""
    rows = evidence.table[evidence.table["saturated"] > 0.001]
    inner = float(rows["inner_moved"].mean()) if len(rows) else 0.0
    return float(rows["saturated_moved"].mean()) / inner if inner > 0.01 else None


def _better_than_noise(evidence: Evidence) -> float | None:
    """Of the counted pairs, the share on which the attack did better than random noise of the same size."""
    counted, goal = evidence.counted, evidence.crafting.goal

    def loss(column: str) -> np.ndarray:
        return goal.loss(torch.tensor(counted[column].to_numpy())).numpy()

    return _mean(pd.Series(loss("adversarial_score") < loss("noise_score")))


def _disagreement_of_draws(evidence: Evidence) -> float | None:
    """Of the counted pairs, the share on which a random victim's verdicts differ between draws."""
    counted = evidence.counted
    if not len(counted) or int(counted["draws"].max()) == 1:
        return None
    return _mean((counted["wins"] > 0) & (counted["wins"] < counted["draws"]))


def _wide(budget: Budget, pairs: PairBatch) -> Budget:
    """``budget`` with the radius that a change of every value by a quarter of the range has in its own measure."""
    away = torch.where(pairs.probe < 0.5, pairs.probe + _WIDE, pairs.probe - _WIDE)
    return budget.resized(float(budget.size(away, pairs.probe).max()))


def _agreement(evidence: Evidence, view: View, pairs: PairBatch) -> Tensor:
    """Cosine (n,) over a few directions; 0 where the gradient or the measured slopes vanish."""
    goal = evidence.crafting.goal
    images = pairs.probe + _PROBE / 4 * normal(pairs.index, Draw(view.seed, Stream.AUDIT), tuple(pairs.probe.shape[1:]))
    images = images.clamp(0, 1).requires_grad_(True)
    (slope,) = torch.autograd.grad(goal.loss(view.score(images, view.enroll(pairs))).sum(), images)
    images, slope = images.detach(), torch.nan_to_num(slope)
    judged = _judged_loss(evidence, view, pairs)
    promised, measured = [], []
    for direction in _directions(slope, pairs, view.seed):
        promised.append((slope * direction).flatten(1).sum(dim=1))
        ahead, behind = judged(images + _PROBE * direction), judged(images - _PROBE * direction)
        measured.append((ahead - behind) / (2 * _PROBE))
    one, other = torch.stack(promised, dim=1).cpu(), torch.stack(measured, dim=1).cpu()
    return torch.nn.functional.cosine_similarity(one, other.to(one.dtype), dim=1)


def _directions(slope: Tensor, pairs: PairBatch, seed: int) -> list[Tensor]:
    """The gradient's signs, and as many variants of them with random blocks reversed; all of one size."""
    signs, side = slope.sign(), slope.shape[-2:]
    found = [signs]
    for number in range(1, _DIRECTIONS):
        blocks = uniform(pairs.index, Draw(seed, Stream.AUDIT, k=number), (1, _GRID, _GRID)) - 0.5
        found.append(signs * torch.nn.functional.interpolate(blocks, size=side).sign())
    return found


def _judged_loss(evidence: Evidence, view: View, pairs: PairBatch) -> Callable[[Images], Tensor]:
    """The attacker's loss (n,) before what judges, or before its own view where it does not see that."""
    goal, judge = evidence.crafting.goal, evidence.judge
    if not evidence.sees_the_victim(view):
        template = view.enroll(pairs)
        return torch.no_grad()(lambda images: goal.loss(view.score(images, template)))
    enrolled = judge.enroll(pairs)
    return lambda images: goal.loss(judge.scores(images, pairs, enrolled).mean(dim=1))
