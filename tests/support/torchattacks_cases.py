"""The attacks of torchattacks as tests run them: those that work on pairs, with few rounds, each in its budget."""

from __future__ import annotations

from typing import Any

import pytest

from frbench.attacks.torchattacks import TorchAttack
from frbench.attacks.torchattacks_table import ATTACKS
from frbench.harness.core.contracts import Budget
from frbench.harness.threat_model.budgets import L2, Linf
from frbench.harness.threat_model.goals import Dodging, Impersonation

GOALS = [pytest.param(Dodging(), id="dodging"), pytest.param(Impersonation(), id="impersonation")]
SIZE, COUNT, THRESHOLD = 16, 4, 0.3
REFUSED = [name for name, kind in ATTACKS.items() if kind.refused]
USABLE = [name for name in ATTACKS if name not in REFUSED]
PARTS = [name for name in USABLE if name != "AutoAttack"]  # which is made of four of the others
# Fewer rounds for the slow ones; the rest runs as shipped.
QUICK: dict[str, dict[str, Any]] = {
    "Square": {"n_queries": 100},
    "EADL1": {"binary_search_steps": 4, "max_iterations": 30},
    "EADEN": {"binary_search_steps": 4, "max_iterations": 30},
    "CW": {"steps": 30},
    "OnePixel": {"steps": 3},
    "SparseFool": {"steps": 2},
    "Pixle": {"restarts": 5},
}


def quick(name: str, **params: Any) -> TorchAttack:
    return TorchAttack(name, QUICK.get(name, {}) | params)


def budget_of(name: str) -> Budget:
    """One that the attack takes; any will do where it knows no limit."""
    return L2(2.0) if L2 in ATTACKS[name].norms and Linf not in ATTACKS[name].norms else Linf(16 / 255)
