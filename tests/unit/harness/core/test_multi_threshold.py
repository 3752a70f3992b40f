"""Only attacks with the contract's run support several thresholds."""

from __future__ import annotations

from frbench.attacks.lots import Lots, LotsDescent
from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.core.multi_threshold import multi_threshold_run


def test_lots_supports_thresholds_exactly_where_its_inner_attack_does() -> None:
    assert multi_threshold_run(Lots(LotsDescent(step_size=3 / 255, steps=25))) is not None
    assert multi_threshold_run(Lots(ProjectedDescent())) is None
    assert multi_threshold_run(ProjectedDescent()) is None
