"""The one projected-descent loop: FGSM, BIM, PGD, MI-, DI- and TI-FGSM under any budget, on the verification score.

Constants follow specs/ensemble_attacks 6.3 and 6.4 (code: RobFR attack/*.py; PGD's restarts: inference): a step is
1.5 radii over the number of steps; MI-FGSM normalises by the mean absolute gradient and has decay 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from frbench.attacks.components.active_set import Front, Ledger, gradient
from frbench.attacks.components.input_diversity import Diversity, Smoothing
from frbench.harness.core.contracts import AttackResult, Ball, Budget, Draw, Goal, Images, Scores, View
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.domains import Decay, PositiveInt, RelativeStep
from frbench.harness.core.face_data import PairBatch

_PATH = 1.5  # radii that all steps cover together, where rel_stepsize is null
_TINY = 1e-12


class _Noise(IntEnum):
    """What noise of the attack is for: ``k`` of its draws."""

    START = 0
    DIVERSITY = 1


@dataclass(frozen=True)
class ProjectedDescent:
    """Descend the goal's loss, projecting onto the budget after each step.

    steps: gradient steps per run.
    rel_stepsize: length of a step in radii of the budget; null for 1.5 / steps.
    restarts: runs; the first start is the clean image, the others are random in the budget.
    momentum: decay of the accumulated gradient (MI-FGSM), or null for none.
    diversity: a random change of the images before each gradient (DI-FGSM), or null.
    smoothing: a filter of each gradient (TI-FGSM), or null.
    early_stop: whether a pair leaves the batch as soon as it passes the view's threshold.
    return_best: return the best iterate by the loss, and not the last as attack libraries do.

    A probe that is the reference itself has a zero gradient, so such rows start from noise. With ``diversity`` an image
    is still judged as it is, so that ``return_best`` and ``early_stop`` then cost one more forward pass per step.
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

    needs_gradient = True
    bounded = True
    batch_dependent = False

    @property
    def stops_early(self) -> bool:
        return self.early_stop

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; gradients flow through ``view`` to the probe alone."""
        ledger = Ledger(goal, pairs.probe)
        template, aim = view.enroll(pairs), view.aim(goal, pairs.index)
        ball = budget.around(pairs.probe)
        for start in range(self.restarts):
            front = Front(self._start(view, pairs, ball, start), template, ball, aim)
            if self.stops_early and start:
                front = front.keep(~goal.achieved(ledger.scores, aim))
            self._descend(view, front, ledger, first=start * (self.steps + 1))
        achieved = goal.achieved(ledger.scores, aim)
        return AttackResult(ledger.images, achieved, ledger.iterations)

    def _start(self, view: View, pairs: PairBatch, ball: Ball, start: int) -> Images:
        same_image = (pairs.probe - pairs.reference).abs().amax(dim=(1, 2, 3)) == 0
        if start == 0 and not bool(same_image.any()):
            return pairs.probe
        noise = uniform(pairs.index, Draw(view.seed, Stream.ATTACK, start, _Noise.START), tuple(pairs.probe.shape[1:]))
        sampled = ball.sample(noise.contiguous(memory_format=torch.channels_last))
        return sampled if start else torch.where(same_image[:, None, None, None], sampled, pairs.probe)

    def _descend(self, view: View, front: Front, ledger: Ledger, first: int) -> None:
        """One start: ``steps`` gradients, numbered from ``first``, and a last look at where they led."""
        for step in range(self.steps):
            if not len(front):
                return
            scores, slope = self._look(view, ledger.goal, front, first + step)
            if self._judges:
                ledger.offer(front.rows, front.images, scores)
            if self.stops_early:
                going = ~ledger.goal.achieved(scores, front.aim)
                front, slope = front.keep(going), slope[going]
            ledger.iterations[front.where] += 1
            front.images = front.ball.step(front.images, self._direction(front, slope), self._fraction)
        if len(front):
            with torch.no_grad():
                scores = view.score(front.images, front.template, first + self.steps)
            ledger.offer(front.rows, front.images, scores)

    @property
    def _fraction(self) -> float:
        """Length of a step in radii."""
        return _PATH / self.steps if self.rel_stepsize is None else self.rel_stepsize

    @property
    def _judges(self) -> bool:
        """Whether the score of each iterate matters, and not of the last alone."""
        return self.return_best or self.stops_early

    def _look(self, view: View, goal: Goal, front: Front, step: int) -> tuple[Scores, Tensor]:
        """Scores (N,) of the images, as they are where they are judged, and the gradient to follow."""
        change = self.diversity
        if change is None:
            return gradient(view, goal, front.images, front.template, step)
        index, draw = front.template.index, Draw(view.seed, Stream.ATTACK, step, _Noise.DIVERSITY)
        scores, slope = gradient(
            view, goal, front.images, front.template, step, lambda images: change(images, index, draw)
        )
        if self._judges:
            with torch.no_grad():
                scores = view.score(front.images, front.template, step)
        return scores, slope

    def _direction(self, front: Front, slope: Tensor) -> Tensor:
        if self.smoothing is not None:
            slope = self.smoothing(slope)
        if self.momentum is None:
            return slope
        scale = slope.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(_TINY)
        pushed = slope / scale
        front.velocity = pushed if front.velocity is None else front.velocity * self.momentum + pushed
        return front.velocity
