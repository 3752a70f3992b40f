"""The bridge to torchattacks: the same images as ours at the same start, and no side effects."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from frbench.attacks.descent import ProjectedDescent
from frbench.attacks.torchattacks import TorchAttack
from frbench.harness.budgets import L2, Linf
from frbench.harness.contracts import Budget, Goal
from frbench.harness.errors import FrbenchError
from frbench.harness.goals import Dodging, Impersonation

pytest.importorskip("torchattacks")
ALPHA = 1.5 * (8 / 255) / 10
PAIRS = {
    "FGSM": ({}, ProjectedDescent(steps=1, stride=1.0, keep="last"), Linf(8 / 255)),
    "BIM": ({"alpha": ALPHA, "steps": 10}, ProjectedDescent(steps=10, keep="last"), Linf(8 / 255)),
    "PGD": (
        {"alpha": ALPHA, "steps": 10, "random_start": False},
        ProjectedDescent(steps=10, keep="last"),
        Linf(8 / 255),
    ),
    "MIFGSM": (
        {"alpha": ALPHA, "steps": 10, "decay": 1.0},
        ProjectedDescent(steps=10, momentum=1.0, keep="last"),
        Linf(8 / 255),
    ),
    "PGDL2": (
        {"alpha": 0.075, "steps": 10, "random_start": False},
        ProjectedDescent(steps=10, keep="last"),
        L2(0.5),
    ),
}


@pytest.mark.parametrize("goal", [Dodging(), Impersonation()], ids=["dodging", "impersonation"])
@pytest.mark.parametrize("name", PAIRS)
def test_native_and_library_make_the_same_images_from_the_same_start(
    name: str, goal: Goal, linear: Callable, batch: Callable, view: Callable
) -> None:
    """Cross-entropy on the two classes is a positive multiple of the cosine's gradient (specs 7.3)."""
    params, native, budget = PAIRS[name]
    pairs = batch(same=goal == Dodging())
    look = view(linear())
    theirs = TorchAttack(name, params)(look, pairs, goal, budget)
    ours = native(look, pairs, goal, budget)
    differing = ((theirs.images - ours.images).abs() > 1e-5).float().mean()
    assert differing < 1e-3  # a gradient of nearly zero may take either sign
    assert torch.equal(theirs.achieved, ours.achieved)


def test_global_random_state_is_put_back(linear: Callable, batch: Callable, view: Callable) -> None:
    attack = TorchAttack("PGD", {"steps": 2})
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = attack(view(linear()), batch(), Dodging(), Linf(8 / 255))
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(99)
    second = attack(view(linear()), batch(), Dodging(), Linf(8 / 255))
    assert torch.equal(first.images, second.images)


@pytest.mark.parametrize(
    ("attack", "budget", "message"),
    [
        (TorchAttack("DeepFool"), Linf(0.1), "not bridged"),
        (TorchAttack("PGD", {"stepz": 3}), Linf(0.1), "stepz"),
        (TorchAttack("PGD"), L2(1.0), "Linf radius"),
        (TorchAttack("PGDL2"), Linf(1.0), "L2 radius"),
    ],
)
def test_what_the_bridge_cannot_do_is_said_in_one_line(
    attack: TorchAttack, budget: Budget, message: str, linear: Callable, batch: Callable, view: Callable
) -> None:
    with pytest.raises(FrbenchError, match=message) as error:
        attack(view(linear()), batch(), Dodging(), budget)
    assert "\n" not in str(error.value)
