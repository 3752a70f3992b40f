"""DeepFool: few steps, the box, and the line back to the clean image."""

from __future__ import annotations

from collections.abc import Callable

import torch

from frbench.attacks.deepfool import DeepFool, newton
from frbench.harness.threat_model.budgets import L2, Linf, Unbounded
from frbench.harness.threat_model.goals import Dodging, Impersonation


def test_it_needs_few_steps_and_finished_pairs_leave(linear: Callable, batch: Callable, view: Callable) -> None:
    result = DeepFool()(view(linear()), batch(same=True), Dodging(), Unbounded())
    assert bool(result.achieved.all())
    assert result.iterations.max() <= 6


def test_refining_never_makes_an_image_larger(linear: Callable, batch: Callable, view: Callable) -> None:
    look, pairs = view(linear()), batch(same=False)
    rough = DeepFool(overshoot=0.5, line_search_steps=0)(look, pairs, Impersonation(), Unbounded())
    fine = DeepFool(overshoot=0.5, line_search_steps=8)(look, pairs, Impersonation(), Unbounded())
    sizes = [L2(1.0).size(result.images, pairs.probe) for result in (rough, fine)]
    assert bool(fine.achieved.all())
    assert bool((sizes[1] <= sizes[0]).all())
    assert sizes[1].mean() < 0.9 * sizes[0].mean()


def test_each_norm_is_smallest_in_its_own_size(linear: Callable, batch: Callable, view: Callable) -> None:
    look, pairs = view(linear()), batch(same=True)
    l2, linf = (DeepFool(norm=norm)(look, pairs, Dodging(), Unbounded()).images for norm in ("l2", "linf"))
    assert bool((L2(1.0).size(l2, pairs.probe) <= L2(1.0).size(linf, pairs.probe)).all())
    assert bool((Linf(1.0).size(linf, pairs.probe) <= Linf(1.0).size(l2, pairs.probe)).all())
    assert L2(1.0).size(l2, pairs.probe).mean() < 0.9 * L2(1.0).size(linf, pairs.probe).mean()


def test_a_newton_step_counts_on_no_pixel_that_the_box_holds() -> None:
    """Two pixels at the wall that cannot go further: the two others carry the whole descent."""
    images = torch.tensor([0.0, 1.0, 0.5, 0.5]).reshape(1, 1, 2, 2)
    slope = torch.tensor([1.0, -1.0, 1.0, -1.0]).reshape(1, 1, 2, 2)
    for norm in ("l2", "linf"):
        moved = newton(images, torch.tensor([0.02]), slope, norm)
        assert torch.allclose((slope * (images - moved)).sum(), torch.tensor(0.02))
        assert torch.allclose(moved.flatten(), torch.tensor([0.0, 1.0, 0.49, 0.51]))


def test_a_newton_step_on_no_slope_is_no_step() -> None:
    images = torch.rand(2, 3, 4, 4)
    assert torch.equal(newton(images, torch.ones(2), torch.zeros(2, 3, 4, 4), "l2"), images)
