"""Several attacks in turn, each on the pairs that still stand: AutoAttack as verification needs it.

After Croce and Hein, ICML 2020; which attacks, and why not those on classifiers: specs/ensemble_attacks 6.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from frbench.attacks.components.active_set import Ledger
from frbench.harness.core.contracts import Attack, AttackResult, Budget, Goal, Images, View
from frbench.harness.core.face_data import PairBatch
from frbench.harness.threat_model.budgets import Unbounded


@dataclass(frozen=True)
class WorstCase:
    """Run ``attacks`` in their order; each pair keeps the image of lowest loss in the view, not the latest.

    A pair leaves when it passes the view's aim. What an unbounded attack finds is projected onto the budget before it
    counts. Under a limit of queries, comparing costs one score for each attack that a pair has met.
    """

    identity = "attack.worst_case"
    version = 1

    attacks: Mapping[str, Attack]

    bounded = True
    stops_early = True

    @property
    def needs_gradient(self) -> bool:
        return any(attack.needs_gradient for attack in self.attacks.values())

    @property
    def batch_dependent(self) -> bool:
        return any(attack.batch_dependent for attack in self.attacks.values())

    def fingerprint(self) -> list[Any]:
        """With the order of the attacks: who comes first decides what the others see."""
        return [[name, attack] for name, attack in self.attacks.items()]

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; ``iterations`` are those of all attacks together."""
        ledger = Ledger(goal, pairs.probe)
        template, aim = view.enroll(pairs), view.aim(goal, pairs.index)
        rows = torch.arange(len(pairs), device=pairs.index.device)
        for attack in self.attacks.values():
            if not len(rows):
                break
            images, iterations = _within(attack, view, pairs[rows], goal, budget[rows])
            with torch.no_grad():
                scores = view.final_score(images, template[rows])
            ledger.offer(rows, images, scores)
            ledger.iterations[rows] += iterations
            rows = rows[~goal.achieved(scores, aim[rows])]
        return AttackResult(ledger.images, goal.achieved(ledger.scores, aim), ledger.iterations)


def _within(attack: Attack, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> tuple[Images, torch.Tensor]:
    """Images of ``attack`` within ``budget``, and the iterations that they took."""
    result = attack(view, pairs, goal, budget if attack.bounded else Unbounded())
    images = result.images if attack.bounded else budget.project(result.images, pairs.probe)
    return images, result.iterations
