"""Several aims on one way: of each pair the image that first passes each of them."""

from __future__ import annotations

import torch
from torch import Tensor

from frbench.attacks.components.active_set import Ledger
from frbench.harness.core.contracts import AttackResult, Goal, Images, Mask, Scores


class Firsts(Ledger):
    """Of each pair the first image beyond each of ``aims`` (Q,); while there is none, the one of lowest loss."""

    def __init__(self, goal: Goal, clean: Images, aims: Scores) -> None:
        super().__init__(goal, clean)
        self.aims = aims[:, None]
        self.firsts = clean.new_zeros(len(aims), *clean.shape)
        self.reached = torch.zeros(len(aims), len(clean), dtype=torch.bool, device=clean.device)
        self.steps = torch.zeros_like(self.reached, dtype=torch.int64)

    def meet(self, rows: Tensor, images: Images, scores: Scores) -> Mask:
        """Look at ``images`` of the pairs ``rows``; which of them have an aim before them. NaN passes none."""
        self.offer(rows, images, scores)
        passed = self.goal.achieved(scores, self.aims) & ~self.reached[:, rows]
        aim, place = passed.nonzero(as_tuple=True)
        self.firsts[aim, rows[place]], self.reached[aim, rows[place]] = images[place], True
        return ~self.reached[:, rows].all(dim=0)

    def results(self) -> list[AttackResult]:
        """One for each aim."""
        return [
            AttackResult(torch.where(reached[:, None, None, None], firsts, self.images), reached, steps)
            for firsts, reached, steps in zip(self.firsts, self.reached, self.steps, strict=True)
        ]
