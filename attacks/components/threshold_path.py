"""Per pair and threshold: the first iterate of an attack that passes the threshold."""

from __future__ import annotations

import torch
from torch import Tensor

from frbench.attacks.components.active_set import BestIterates
from frbench.harness.core.contracts import AttackResult, Goal, Images, Mask, Scores


class FirstPassing(BestIterates):
    """Per pair and aim: the first iterate beyond the aim; before there is one, the iterate of lowest loss.

    Args:
        aims: scores (Q,) to pass.
    """

    def __init__(self, goal: Goal, clean: Images, aims: Scores) -> None:
        super().__init__(goal, clean)
        self.aims = aims[:, None]
        self.first = clean.new_zeros(len(aims), *clean.shape)
        self.reached = torch.zeros(len(aims), len(clean), dtype=torch.bool, device=clean.device)
        self.steps = torch.zeros_like(self.reached, dtype=torch.int64)

    def record(self, rows: Tensor, images: Images, scores: Scores) -> Mask:
        """Record ``images`` of the pairs ``rows`` for the aims that they are the first to pass; NaN passes none.

        Returns:
            Which pairs (n,) still have an aim to reach.
        """
        self.update(rows, images, scores)
        passed = self.goal.achieved(scores, self.aims) & ~self.reached[:, rows]
        aim, place = passed.nonzero(as_tuple=True)
        self.first[aim, rows[place]], self.reached[aim, rows[place]] = images[place], True
        return ~self.reached[:, rows].all(dim=0)

    def results(self) -> list[AttackResult]:
        """One result per aim."""
        return [
            AttackResult(torch.where(reached[:, None, None, None], first, self.images), reached, steps)
            for first, reached, steps in zip(self.first, self.reached, self.steps, strict=True)
        ]
