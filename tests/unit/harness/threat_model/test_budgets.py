"""A budget is never exceeded, whatever comes in."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from frbench.harness.core.contracts import Budget
from frbench.harness.core.errors import FrbenchError
from frbench.harness.threat_model.budgets import L2, Dssim, Linf, Unbounded

BUDGETS = [Linf(8 / 255), L2(0.5), Dssim(0.01), Unbounded()]


def images(seed: int, size: int = 16, count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    clean = torch.rand(count, 3, size, size, generator=generator)
    clean[0], clean[1, :, :4] = 0.0, 1.0
    return clean, clean + torch.randn(count, 3, size, size, generator=generator)


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda b: type(b).__name__)
@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_a_projected_image_fits_and_projecting_again_changes_nothing(budget: Budget, seed: int) -> None:
    clean, wild = images(seed)
    once = budget.project(wild, clean)
    assert bool(budget.fits(once, clean).all())
    assert once.min() >= 0 and once.max() <= 1
    assert torch.allclose(budget.project(once, clean), once, atol=2e-6)


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda b: type(b).__name__)
@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_steps_and_starts_stay_in_the_budget(budget: Budget, seed: int) -> None:
    clean, wild = images(seed)
    ball = budget.around(clean)
    noise = torch.rand(clean.shape, generator=torch.Generator().manual_seed(seed))
    walked = ball.sample(noise)
    assert bool(budget.fits(walked, clean).all())
    for _ in range(3):
        walked = ball.step(walked, wild, 0.7)
        assert bool(budget.fits(walked, clean).all())
        assert walked.min() >= 0 and walked.max() <= 1


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda b: type(b).__name__)
def test_a_zero_gradient_moves_nothing_and_makes_no_nan(budget: Budget) -> None:
    clean, _ = images(0)
    assert torch.allclose(budget.around(clean).step(clean, torch.zeros_like(clean), 0.5), clean, atol=1e-6)


@pytest.mark.parametrize("kind", [Linf, L2, Dssim])
def test_a_radius_for_each_pair_is_each_pairs_own(kind: type) -> None:
    clean, wild = images(1)
    radii = torch.tensor([0.01, 0.02, 0.03, 0.04])
    together = kind(radii).project(wild, clean)
    alone = torch.cat([kind(float(r)).project(wild[i : i + 1], clean[i : i + 1]) for i, r in enumerate(radii)])
    assert torch.allclose(together, alone, atol=1e-6)
    rows = torch.tensor([2, 0])
    stepped = kind(radii).around(clean)[rows].step(clean[rows], wild[rows], 1.0)
    assert torch.allclose(stepped, kind(radii).around(clean).step(clean, wild, 1.0)[rows], atol=1e-6)


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda b: type(b).__name__)
def test_a_step_of_its_own_for_each_pair_is_the_step_it_would_make_alone(budget: Budget) -> None:
    clean, wild = images(4)
    ball, fractions = budget.around(clean), torch.tensor([0.1, 0.5, 0.9, 2.0])
    together = ball.step(clean, wild, fractions.reshape(-1, 1, 1, 1))
    alone = [ball.step(clean, wild, float(each))[i] for i, each in enumerate(fractions)]
    assert torch.allclose(together, torch.stack(alone), atol=1e-6)


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda b: type(b).__name__)
def test_a_ball_projects_as_its_budget_does(budget: Budget) -> None:
    clean, wild = images(5)
    assert torch.allclose(budget.around(clean).project(wild), budget.project(wild, clean), atol=1e-7)


@pytest.mark.parametrize("kind", [Linf, L2, Dssim])
def test_some_rows_of_a_budget_are_the_budget_of_those_rows(kind: type) -> None:
    clean, wild = images(6)
    rows = torch.tensor([3, 1])
    for radius in (torch.tensor([0.01, 0.02, 0.03, 0.04]), 0.02, torch.tensor(0.02), torch.tensor([0.02])):
        whole = kind(radius)
        part = whole[rows].project(wild[rows], clean[rows])
        assert torch.allclose(part, whole.project(wild, clean)[rows], atol=1e-6)
    assert Unbounded()[rows] == Unbounded()


def test_linf_projection_is_the_closed_form() -> None:
    clean, wild = images(2)
    expected = (clean + (wild - clean).clamp(-0.1, 0.1)).clamp(0, 1)
    assert torch.allclose(Linf(0.1).project(wild, clean), expected, atol=1e-7)


def test_l2_projection_is_the_closed_form_inside_the_cube() -> None:
    clean = torch.full((1, 3, 4, 4), 0.5)
    change = torch.zeros_like(clean)
    change[0, 0, 0, 0], change[0, 1, 2, 3] = 0.3, 0.4
    found = L2(0.25).project(clean + change, clean) - clean
    assert math.isclose(float(found.norm()), 0.25, rel_tol=1e-5)
    assert torch.allclose(found, change / 2, atol=1e-6)


def test_dssim_uses_up_its_radius_where_the_change_is_too_large() -> None:
    clean, wild = images(3, size=32)
    budget = Dssim(0.01, cap=1.0)
    sizes = budget.size(budget.project(wild, clean), clean)
    assert bool((sizes <= 0.01 * (1 + 1e-5)).all()) and bool((sizes > 0.0095).all())


def test_the_unbounded_budget_has_no_radius_to_search_over() -> None:
    with pytest.raises(FrbenchError, match="no radius"):
        Unbounded().resized(0.1)
