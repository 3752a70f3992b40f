"""FAB: its projection and its sizes beside torchattacks', random starts, and DeepFool's sizes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from frbench.attacks.deepfool import SIZES, DeepFool, Norm
from frbench.attacks.fab import Fab, onto_plane
from frbench.attacks.torchattacks import TorchAttack
from frbench.harness.core.contracts import Draw, Goal, Images, Scores, Template, View
from frbench.harness.core.face_data import PairBatch
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.threat_model.budgets import L2, Linf, Unbounded
from frbench.harness.threat_model.goals import Dodging, Impersonation

NORMS: list[Norm] = ["l2", "linf"]
GOALS = [Dodging(), Impersonation()]
COUNT = 12


def sizes(attack: Any, view: View, pairs: PairBatch, goal: Goal, norm: Norm) -> Tensor:
    result = attack(view, pairs, goal, Unbounded())
    assert bool(result.achieved.all())
    return SIZES[norm].size(result.images, pairs.probe)


def theirs(images: Tensor, gap: Tensor, slope: Tensor, norm: Norm) -> Tensor:
    """The change that torchattacks' projection onto {x: slope . x = b} makes."""
    fab = pytest.importorskip("torchattacks.attacks.fab")
    flat, weight = images.flatten(1), slope.flatten(1)
    project = {"l2": fab.projection_l2, "linf": fab.projection_linf}[norm]
    change: Tensor = project(flat, weight, (weight * flat).sum(dim=1) - gap)
    return change.reshape(images.shape)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 1.5])
def test_a_projection_is_that_of_torchattacks(norm: Norm, share: float) -> None:
    """``share`` of what the box allows at most: of a little, of nearly all, and of more than there is."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(8, 3, 6, 6, generator=generator)
    images[:, :, 0], images[:, :, 1] = 0.0, 1.0
    slope = torch.randn(8, 3, 6, 6, generator=generator)
    slope[:, :, 2, 3:] = 0.0
    most = (slope.abs() * torch.where(slope > 0, images, 1 - images)).sum(dim=(1, 2, 3))
    least = -(slope.abs() * torch.where(slope > 0, 1 - images, images)).sum(dim=(1, 2, 3))
    gap = share * torch.where(torch.arange(8) % 2 == 0, most, least)
    change = onto_plane(images, gap, slope, norm)
    assert torch.allclose(change, theirs(images, gap, slope, norm), atol=1e-5)
    reached = torch.where(gap > 0, gap.minimum(most), gap.maximum(least))
    assert torch.allclose(-(slope * change).sum(dim=(1, 2, 3)), reached, rtol=1e-4)
    assert bool((images + change >= -1e-6).all()) and bool((images + change <= 1 + 1e-6).all())


def test_a_projection_without_a_slope_is_no_change() -> None:
    for norm in NORMS:
        change = onto_plane(torch.rand(2, 3, 4, 4), torch.ones(2), torch.zeros(2, 3, 4, 4), norm)
        assert torch.equal(change, torch.zeros(2, 3, 4, 4))


@pytest.mark.parametrize("goal", GOALS, ids=["dodging", "impersonation"])
@pytest.mark.parametrize("norm", NORMS)
def test_its_sizes_are_those_of_torchattacks(
    norm: Norm, goal: Goal, linear: Callable, batch: Callable, view: Callable
) -> None:
    """Within 1e-4 for each pair, at equal steps and without our bisections at the end, which theirs does not have."""
    pytest.importorskip("torchattacks")
    look, pairs = view(linear()), batch(same=goal == Dodging())
    ours = sizes(Fab(norm=norm, line_search_steps=0), look, pairs, goal, norm)
    budget = {"l2": L2(9.0), "linf": Linf(0.9)}[norm]  # theirs returns the clean image where it is beyond this
    library = TorchAttack("FAB", {"steps": 20})(look, pairs, goal, budget)
    assert bool(library.achieved.all())
    assert torch.allclose(ours, SIZES[norm].size(library.images, pairs.probe), rtol=1e-4)


@pytest.mark.parametrize("goal", GOALS, ids=["dodging", "impersonation"])
@pytest.mark.parametrize("norm", NORMS)
def test_its_sizes_are_below_deepfools_at_equal_steps(
    norm: Norm, goal: Goal, linear: Callable, batch: Callable, view: Callable
) -> None:
    look, pairs = view(linear()), batch(same=goal == Dodging())
    ours, other = (sizes(kind(norm=norm, steps=20), look, pairs, goal, norm) for kind in (Fab, DeepFool))
    assert bool((ours <= 1.005 * other).all())
    assert ours.mean() < other.mean()


@dataclass(frozen=True)
class Noting(CosineVerifier):
    """Notes each image that it scores, by pair."""

    seen: dict[int, list[Tensor]] = field(default_factory=lambda: defaultdict(list), compare=False)

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores:
        for pair, image in zip(template.index.tolist(), probe.detach(), strict=True):
            self.seen[pair].append(image.clone())
        return super().score(probe, template, draw)


@pytest.mark.parametrize("norm", NORMS)
def test_random_starts_belong_to_the_pair_and_never_make_a_change_larger(
    norm: Norm, linear: Callable, batch: Callable, view: Callable
) -> None:
    """The first start asks for 11 scores, the clean image's and two a step; the next is that of a random start."""
    pairs, attack = batch(same=True), Fab(norm=norm, steps=5, restarts=3)

    def found(rows: Tensor, seed: int) -> tuple[Tensor, dict[int, list[Tensor]]]:
        verifier = Noting(linear())
        look = replace(view(linear(), seed=seed), verifier=verifier)
        return sizes(attack, look, pairs[rows], Dodging(), norm), verifier.seen

    every = torch.arange(COUNT)
    together, seen = found(every, seed=0)
    _, alone = found(torch.tensor([7]), seed=0)
    _, other = found(every, seed=1)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(seen[7], alone[7], strict=True))
    start = [each[7][11] - pairs.probe[7] for each in (seen, other)]
    assert not torch.allclose(start[0], start[1], atol=1e-3)
    assert (start[0].norm() if norm == "l2" else start[0].abs().max()) <= 0.51 * max(
        float(SIZES[norm].size(image[None], pairs.probe[7:8])) for image in seen[7][:11]
    )
    single = sizes(replace(attack, restarts=1), view(linear()), pairs, Dodging(), norm)
    assert bool((together <= single * (1 + 1e-6)).all())


def test_a_pair_that_needs_no_change_gets_none(linear: Callable, batch: Callable, view: Callable) -> None:
    pairs = batch(same=True)
    result = Fab(restarts=2)(view(linear(), threshold=2.0), pairs, Dodging(), Unbounded())
    assert torch.equal(result.images, pairs.probe)
    assert bool(result.achieved.all()) and not bool(result.iterations.any())
