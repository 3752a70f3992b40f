"""The contract of attacks that reach several score thresholds in one run."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from frbench.harness.core.contracts import AttackResult, Goal, Scores, View
from frbench.harness.core.face_data import PairBatch


class MultiThresholdRun(Protocol):
    """One run of an attack, from one start, past ``thresholds`` (Q,).

    Returns one result per threshold: what the attack returns when it stops at that threshold.
    """

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, thresholds: Scores) -> list[AttackResult]: ...


@runtime_checkable
class MultiThresholdAttack(Protocol):
    """An attack that may support such runs. multi_threshold_run: None where it does not."""

    @property
    def multi_threshold_run(self) -> MultiThresholdRun | None: ...


def multi_threshold_run(attack: object) -> MultiThresholdRun | None:
    """The run of ``attack`` past several thresholds, or None where it does not support one."""
    return attack.multi_threshold_run if isinstance(attack, MultiThresholdAttack) else None
