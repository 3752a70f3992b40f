"""Attacks that look for the smallest change: against closed forms, and what they all promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from frbench.attacks.cw import CarliniWagner
from frbench.attacks.deepfool import DeepFool
from frbench.attacks.fab import Fab
from frbench.attacks.lots import Lots, LotsDescent
from frbench.attacks.minimal import Minimal
from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.harness.core.contracts import Attack, Draw, Goal, Images, Scores, Template, View
from frbench.harness.core.face_data import PairBatch
from frbench.harness.threat_model.budgets import L2, Linf, Unbounded
from frbench.harness.threat_model.goals import Dodging, Impersonation

BIM = ProjectedDescent(steps=20, early_stop=True)
FGSM = ProjectedDescent(steps=1, rel_stepsize=1.0, early_stop=True)
EUCLIDEAN: dict[str, Attack] = {
    "cw": CarliniWagner(),
    "deepfool": DeepFool(),
    "fab": Fab(norm="l2"),
    "minimal_bim": Minimal(BIM, L2(4.0)),
    "minimal_fgsm": Minimal(FGSM, L2(1.0)),
}
LARGEST: dict[str, Attack] = {
    "deepfool": DeepFool(norm="linf"),
    "fab": Fab(),
    "minimal_bim": Minimal(BIM, Linf(16 / 255)),
    "minimal_fgsm": Minimal(FGSM, Linf(16 / 255)),
    "minimal_fgsm_by_grid": Minimal(FGSM, Linf(16 / 255), grid=32),
}
ALL = {**{f"{name}_l2": attack for name, attack in EUCLIDEAN.items()}, "lots": Lots(LotsDescent(steps=150))}
GOALS = [Dodging(), Impersonation()]
COUNT = 6


@dataclass(frozen=True)
class Affine:
    """A score that is affine in the probe, so that the distance to any score is known: (a . (x - reference)) + b."""

    slopes: Tensor
    start: float = 0.5

    differentiable = True
    random = False

    def enroll(self, reference: Images, index: Tensor, draw: Draw) -> Template:
        return Template(torch.cat([self.slopes[index], reference.flatten(1)], dim=1), index)

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        slopes, reference = template.vectors.chunk(2, dim=1)
        return (slopes * (probe.flatten(1) - reference)).sum(dim=1) + self.start


@pytest.fixture
def affine() -> tuple[View, PairBatch, Tensor]:
    """Gray probes, each its own distance from its reference's score; slopes of different lengths; far from the box."""
    generator = torch.Generator().manual_seed(0)
    slopes = torch.randn(COUNT, 192, generator=generator) * torch.tensor([0.01, 0.03, 0.1, 0.3, 1.0, 3.0])[:, None]
    reference = torch.full((COUNT, 3, 8, 8), 0.5)
    probe = reference + 0.001 * torch.randn(COUNT, 3, 8, 8, generator=generator)
    index = torch.arange(COUNT)
    pairs = PairBatch(probe, reference, reference, index >= 0, index, index)
    verifier = Affine(slopes)
    with torch.no_grad():
        scores = verifier.score(probe, verifier.enroll(reference, index, Draw()), Draw())
    # The threshold of each pair lies where its closed-form distance is of the size that faces have.
    steep = torch.linalg.vector_norm(slopes, dim=1)
    return View(verifier, scores - 0.2 * steep), pairs, slopes


@pytest.mark.parametrize("goal", GOALS, ids=["dodging", "impersonation"])
@pytest.mark.parametrize("name", EUCLIDEAN)
def test_on_an_affine_score_the_euclidean_distance_is_the_closed_form(
    name: str, goal: Goal, affine: tuple[View, PairBatch, Tensor]
) -> None:
    (view, pairs, slopes), closed = affine, 0.2
    steep = torch.linalg.vector_norm(slopes, dim=1)
    if goal == Impersonation():
        view = replace(view, thresholds=view.thresholds + 2 * closed * steep)
    result = EUCLIDEAN[name](view, pairs, goal, Unbounded())
    sizes = L2(1.0).size(result.images, pairs.probe)
    assert bool(result.achieved.all())
    assert torch.allclose(sizes, torch.full_like(sizes, closed), rtol=0.01)


@pytest.mark.parametrize("name", LARGEST)
def test_on_an_affine_score_the_largest_change_is_the_closed_form(
    name: str, affine: tuple[View, PairBatch, Tensor]
) -> None:
    view, pairs, slopes = affine
    closed = 0.2 * torch.linalg.vector_norm(slopes, dim=1) / slopes.abs().sum(dim=1)
    result = LARGEST[name](view, pairs, Dodging(), Unbounded())
    sizes = Linf(1.0).size(result.images, pairs.probe)
    assert bool(result.achieved.all())
    assert torch.allclose(sizes, closed, rtol=0.01)


@pytest.mark.parametrize("name", ALL)
def test_pairs_already_won_are_left_as_they_are(name: str, linear: Callable, batch: Callable, view: Callable) -> None:
    pairs = batch(same=False)
    result = ALL[name](view(linear(), threshold=0.99), pairs, Dodging(), Unbounded())
    assert bool(result.achieved.all())
    assert torch.equal(result.images, pairs.probe)


@pytest.mark.parametrize("goal", GOALS, ids=["dodging", "impersonation"])
@pytest.mark.parametrize("name", ALL)
def test_success_is_what_the_view_says_a_margin_beyond_the_threshold(
    name: str, goal: Goal, linear: Callable, batch: Callable, view: Callable
) -> None:
    look, pairs = view(linear(), margin=0.05), batch(same=goal == Dodging())
    result = ALL[name](look, pairs, goal, Unbounded())
    with torch.no_grad():
        scores = look.score(result.images, look.enroll(pairs))
    assert torch.equal(result.achieved, goal.achieved(scores, look.aim(goal, pairs.index)))
    assert result.achieved.float().mean() > 0.5


@pytest.mark.parametrize("name", ALL)
def test_a_masked_gradient_is_a_failure_and_no_nan(
    name: str, saturated: object, batch: Callable, view: Callable
) -> None:
    result = ALL[name](view(saturated), batch(), Dodging(), Unbounded())
    assert bool(torch.isfinite(result.images).all())
    assert not bool(result.achieved.any())


class Silent:
    """A verifier that has stopped answering: every score is NaN, as beyond a limit of queries."""

    differentiable, random = True, False

    def enroll(self, reference: Images, index: Tensor, draw: Draw) -> Template:
        return Template(index[:, None], index)

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        return probe.flatten(1).sum(dim=1) * torch.nan


@pytest.mark.parametrize("goal", GOALS, ids=["dodging", "impersonation"])
@pytest.mark.parametrize("name", ALL)
def test_scores_that_are_nan_are_no_success_and_do_not_spread(name: str, goal: Goal, batch: Callable) -> None:
    pairs = batch(4)
    result = ALL[name](View(Silent(), torch.full((4,), 0.3)), pairs, goal, Unbounded())
    assert not bool(result.achieved.any())
    assert bool(torch.isfinite(result.images).all())


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("name", ALL)
def test_images_do_not_depend_on_the_batch(
    name: str, size: int, linear: Callable, batch: Callable, view: Callable
) -> None:
    look, pairs, goal = view(linear()), batch(10), Impersonation()
    together = ALL[name](look, pairs, goal, Unbounded())
    parts = [ALL[name](look, pairs[slice(i, i + size)], goal, Unbounded()) for i in range(0, 10, size)]
    assert torch.allclose(together.images, torch.cat([part.images for part in parts]), atol=1e-6)
    assert torch.equal(together.iterations, torch.cat([part.iterations for part in parts]))


@pytest.mark.parametrize("name", ALL)
def test_a_probe_that_is_its_own_reference_is_dodged(
    name: str, linear: Callable, batch: Callable, view: Callable
) -> None:
    pairs = batch(4, same=True)
    pairs = replace(pairs, probe=pairs.reference.clone())
    result = ALL[name](view(linear(), threshold=0.9), pairs, Dodging(), Unbounded())
    assert bool(result.achieved.all())
