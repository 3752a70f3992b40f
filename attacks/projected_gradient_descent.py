"""FGSM, BIM, PGD and MI-, DI- and TI-FGSM on a verification score: one projected gradient descent for every budget.

Goodfellow et al., ICLR 2015; Kurakin et al., ICLR 2017 workshop; Madry et al., ICLR 2018; Dong et al., CVPR 2018 and
CVPR 2019; Xie et al., CVPR 2019. Step size, decay and normalization are those of RobFR (Yang et al., 2020).

The method: docs/methods/attacks_within_a_budget.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from frbench.attacks.components.active_set import ActivePairs, BestIterates, gradient, leave_reference, noise_for
from frbench.attacks.components.input_diversity import Diversity, Smoothing
from frbench.harness.core.contracts import Attack, AttackResult, Ball, Budget, Draw, Goal, Images, Scores, View
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.domains import Decay, PositiveInt, RelativeStep
from frbench.harness.core.face_data import PairBatch

_PATH_LENGTH = 1.5  # of all steps together, in radii, where rel_stepsize is null
_TINY = 1e-12


class _Noise(IntEnum):
    """Purpose of a draw: its ``k``."""

    START = 0
    DIVERSITY = 1


@dataclass(frozen=True)
class ProjectedDescent(Attack):
    """Descends the goal's loss and projects onto the budget after each step.

    Attributes:
        steps: gradient steps per run.
        rel_stepsize: step size in radii of the budget; null for 1.5 / steps.
        restarts: runs; the first starts from the clean image, the others from random images within the budget.
        momentum: decay of the accumulated gradient (MI-FGSM), or null for none.
        diversity: random transformation of the images before each gradient (DI-FGSM), or null.
        smoothing: filter of each gradient (TI-FGSM), or null.
        early_stop: drop a pair from the batch as soon as its score passes the view's threshold.
        return_best: return the iterate of lowest loss, and not the last one as attack libraries do.

    A probe that equals its reference has a zero gradient, so its first run also starts from a random image. With
    ``diversity`` the untransformed image is still the one that is judged, so that ``return_best`` and ``early_stop``
    cost one more forward pass per step.
    """

    identity = "attack.projected_gradient_descent"
    version = 1

    steps: PositiveInt = 20
    rel_stepsize: RelativeStep | None = None
    restarts: PositiveInt = 1
    momentum: Decay | None = None
    diversity: Diversity | None = None
    smoothing: Smoothing | None = None
    early_stop: bool = False
    return_best: bool = True

    @property
    def stops_early(self) -> bool:
        return self.early_stop

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; only the probe has a gradient."""
        best = BestIterates(goal, pairs.probe)
        template, aim = view.enroll(pairs), view.aim(goal, pairs.index)
        ball = budget.around(pairs.probe)
        for run in range(self.restarts):
            active = ActivePairs(self._start(view, pairs, ball, run), template, ball, aim)
            if self.early_stop and run:
                active = active.keep(~goal.achieved(best.scores, aim))
            self._descend(view, active, best, first=run * (self.steps + 1))
        return AttackResult(best.images, goal.achieved(best.scores, aim), best.iterations)

    def _start(self, view: View, pairs: PairBatch, ball: Ball, run: int) -> Images:
        def sampled() -> Images:
            return ball.sample(noise_for(pairs, Draw(view.seed, Stream.ATTACK, run, _Noise.START)))

        return sampled() if run else leave_reference(pairs, sampled)

    def _descend(self, view: View, active: ActivePairs, best: BestIterates, first: int) -> None:
        """One run: ``steps`` gradients, numbered from ``first``, and the score of the last iterate."""
        for step in range(self.steps):
            if not len(active):
                return
            scores, slope = self._gradient(view, best.goal, active, first + step)
            if self._scores_iterates:
                best.update(active.rows, active.images, scores)
            if self.early_stop:
                going = ~best.goal.achieved(scores, active.aim)
                active, slope = active.keep(going), slope[going]
            best.iterations[active.where] += 1
            active.images = active.ball.step(active.images, self._direction(active, slope), self._stepsize)
        if len(active):
            with torch.no_grad():
                scores = view.score(active.images, active.template, first + self.steps)
            best.update(active.rows, active.images, scores)

    @property
    def _stepsize(self) -> float:
        """In radii."""
        return _PATH_LENGTH / self.steps if self.rel_stepsize is None else self.rel_stepsize

    @property
    def _scores_iterates(self) -> bool:
        """Whether the score of every iterate is needed, and not of the last one alone."""
        return self.return_best or self.early_stop

    def _gradient(self, view: View, goal: Goal, active: ActivePairs, step: int) -> tuple[Scores, Tensor]:
        """Scores (n,), of the untransformed images where they are needed, and the gradient to follow."""
        transform = self.diversity
        if transform is None:
            return gradient(view, goal, active.images, active.template, step)
        index, draw = active.template.index, Draw(view.seed, Stream.ATTACK, step, _Noise.DIVERSITY)
        scores, slope = gradient(
            view, goal, active.images, active.template, step, lambda images: transform(images, index, draw)
        )
        if self._scores_iterates:
            with torch.no_grad():
                scores = view.score(active.images, active.template, step)
        return scores, slope

    def _direction(self, active: ActivePairs, slope: Tensor) -> Tensor:
        if self.smoothing is not None:
            slope = self.smoothing(slope)
        if self.momentum is None:
            return slope
        scale = slope.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(_TINY)
        normalized = slope / scale
        active.velocity = normalized if active.velocity is None else active.velocity * self.momentum + normalized
        return active.velocity
