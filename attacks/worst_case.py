"""An ensemble of attacks in turn, each on the pairs that are not yet broken: AutoAttack for verification.

After Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
attacks", ICML 2020. Their targeted attacks are left out: verification has one boundary.

The method: docs/methods/attacks_within_a_budget.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from frbench.attacks.components.active_set import BestIterates
from frbench.harness.core.contracts import Attack, AttackResult, Budget, Goal, Images, View
from frbench.harness.core.face_data import PairBatch
from frbench.harness.threat_model.budgets import Unbounded


@dataclass(frozen=True)
class WorstCase(Attack):
    """Runs ``attacks`` in order; each pair keeps the image of lowest loss over all attacks.

    A pair leaves when its score passes the view's aim. The images of an unbounded attack are projected onto the budget
    before they are scored. Under a query limit, the comparison costs one query per attack and pair.

    Attributes:
        attacks: the attacks by name, in the order in which they run.
    """

    identity = "attack.worst_case"
    version = 1

    attacks: Mapping[str, Attack]

    stops_early = True

    @property
    def needs_gradient(self) -> bool:
        return any(attack.needs_gradient for attack in self.attacks.values())

    @property
    def batch_dependent(self) -> bool:
        return any(attack.batch_dependent for attack in self.attacks.values())

    def fingerprint(self) -> list[Any]:
        """The attacks in their order, since each one sees only the pairs that its predecessors left."""
        return [[name, attack] for name, attack in self.attacks.items()]

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        """Attack ``pairs``; ``iterations`` are the sum over all attacks."""
        best = BestIterates(goal, pairs.probe)
        template, aim = view.enroll(pairs), view.aim(goal, pairs.index)
        rows = torch.arange(len(pairs), device=pairs.index.device)
        for attack in self.attacks.values():
            if not len(rows):
                break
            images, iterations = _within(attack, view, pairs[rows], goal, budget[rows])
            with torch.no_grad():
                scores = view.final_score(images, template[rows])
            best.update(rows, images, scores)
            best.iterations[rows] += iterations
            rows = rows[~goal.achieved(scores, aim[rows])]
        return AttackResult(best.images, goal.achieved(best.scores, aim), best.iterations)


def _within(attack: Attack, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> tuple[Images, torch.Tensor]:
    """Images of ``attack`` within ``budget``, and the number of iterations per pair."""
    result = attack(view, pairs, goal, budget if attack.bounded else Unbounded())
    images = result.images if attack.bounded else budget.project(result.images, pairs.probe)
    return images, result.iterations
