"""Adversarial training: how faces are moved, what is asked of them, and that nobody is paired with himself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.toy_learners import lesson, network, people
from torch import Tensor, nn
from torch.nn.functional import normalize

from frbench.harness.config.checks import check_fields
from frbench.harness.core.contracts import Artifact, Recipe
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import Images
from frbench.harness.recognizers.initialization import load_member
from frbench.harness.recognizers.preprocessing import unit_length
from frbench.harness.training.ensemble_recipe import EnsembleRecipe
from frbench.harness.training.loop import Schedule
from frbench.harness.training.losses.margins import ArcFace, margin_loss
from frbench.harness.training.losses.mter import Search, triplet
from frbench.harness.training.mter_recipe import MterRecipe, _Mter

FACES = people()
START = EnsembleRecipe(ArcFace(16, 0.3), Schedule(6, 24, 0.05, lr_scheduler="cosine"), network())
RECIPE = MterRecipe(START, ArcFace(16, 0.3), Search(), Schedule(6, 40, 0.01, weight_decay=5e-4, grad_clip_norm=5.0))


def embedder(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Tanh(), nn.Linear(8, 8))


def looking(module: nn.Module) -> tuple[list[int], object]:
    seen: list[int] = []

    def embed(images: Images) -> Tensor:
        seen.append(len(images))
        return unit_length(module(images))

    return seen, embed


def random_faces(count: int, seed: int = 0) -> Images:
    return torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


def learner(recipe: MterRecipe = RECIPE, seed: int = 0) -> _Mter:
    return _Mter([network().module(seed)], recipe, lesson(FACES, Path("unused"), seed)).train()


def test_a_step_is_exactly_one_gray_level_towards_the_target() -> None:
    source, target, module = random_faces(6), random_faces(6, 1), embedder()
    source[:, :, 0] = 0.0
    source[:, :, 1] = 1.0
    _, embed = looking(module)
    before = source.clone()
    changed = Search(rounds=1)(embed, source, target)
    assert torch.equal(source, before) and not source.requires_grad and not changed.requires_grad
    again = before.clone().requires_grad_(True)
    distance = 1 - (unit_length(module(again)) * unit_length(module(target)).detach()).sum(dim=1)
    (slope,) = torch.autograd.grad(distance.sum(), again)
    assert torch.equal(changed, (before - slope.sign() / 255).clamp(0, 1))
    inside = before[:, :, 2:]
    moved = (changed[:, :, 2:] - inside).abs()
    assert torch.allclose(moved, torch.full_like(moved, 1 / 255), atol=1e-7)


def test_the_only_bound_is_the_number_of_rounds() -> None:
    source, target = random_faces(6), random_faces(6, 1)
    _, embed = looking(embedder())
    for rounds in (1, 4, 10):
        changed = Search(rounds, close=-1.0)(embed, source, target)
        assert float((changed - source).abs().max()) <= rounds / 255 + 1e-6
        assert float(changed.min()) >= 0 and float(changed.max()) <= 1
    with torch.no_grad():
        aim = embed(target)
        assert (1 - (embed(changed) * aim).sum(dim=1) < 1 - (embed(source) * aim).sum(dim=1)).all()


def test_it_takes_one_step_whatever_and_then_waits_for_the_farthest() -> None:
    source = random_faces(4)
    seen, embed = looking(embedder())
    near = Search(close=0.1)(embed, source, source)
    assert len(seen) == 1 + 2, "the target, a step, and one more look"
    assert float((near - source).abs().max()) <= 1 / 255 + 1e-6
    target = source.clone()
    target[3] = 1 - target[3]  # one that is far
    seen.clear()
    Search(close=0.1)(embed, source, target)
    assert len(seen) == 1 + 10


def test_the_search_gives_weights_no_gradient_and_leaves_statistics_alone() -> None:
    students = learner()
    network_ = students.members[0]
    before = {name: each.clone() for name, each in network_.named_buffers()}
    images = FACES.load(np.arange(20))
    changed = students.changed(images[:10], images[10:])
    assert float((changed - images[:10]).abs().max()) > 0
    assert all(torch.equal(each, before[name]) for name, each in network_.named_buffers())
    assert all(each.grad is None and each.requires_grad for each in network_.parameters())
    assert all(module.training for module in network_.modules())
    assert not changed.requires_grad


def test_the_search_sees_the_network_as_it_is_used() -> None:
    students, modes = learner(), []
    students.members[0].register_forward_hook(lambda module, *_: modes.append(module.training))
    students.changed(FACES.load(np.arange(4)), FACES.load(np.arange(4, 8)))
    assert modes and not any(modes)
    students.loss(FACES.load(np.arange(40)), torch.arange(40), torch.Generator().manual_seed(0))
    assert modes[-1] and modes.count(True) == 1, "all three sets go through the training network at once"


def test_no_source_is_of_the_person_of_its_target_and_halves_are_dealt_anew() -> None:
    students, halves = learner(), set()
    for epoch in range(30):
        students.after_step(epoch * students.per_epoch)
        person = torch.randint(12, (40,), generator=torch.Generator().manual_seed(epoch))
        source, target = students.pairs(person, torch.Generator().manual_seed(epoch))
        assert len(source) == len(target) > 0
        assert not set(person[source].tolist()) & set(person[target].tolist())
        first = students._half()
        assert int(first.sum()) == 6
        assert len({*source.tolist(), *target.tolist()}) == 2 * len(source), "no face twice"
        halves.add(tuple(first.tolist()))
        students.after_step((epoch + 1) * students.per_epoch - 1)
        assert torch.equal(students._half(), first), "once an epoch"
    assert len(halves) > 20


def test_pairs_and_left_out_people_are_random() -> None:
    """A batch is in the order of people, and its halves are of different size."""
    students, left, near = learner(), torch.zeros(12), []
    person = torch.arange(12).repeat_interleave(10)
    for epoch in range(60):
        students.after_step(epoch * students.per_epoch)
        kept = torch.ones(120, dtype=torch.bool)
        kept[torch.cat([torch.nonzero(person == each)[: int(each) % 4 + 1, 0] for each in range(12)])] = False
        some = person[kept]
        source, target = students.pairs(some, torch.Generator().manual_seed(epoch))
        taken = torch.zeros(len(some), dtype=torch.bool).index_fill(0, torch.cat([source, target]), True)
        left += torch.bincount(some[~taken], minlength=12)
        near.append((source.float().argsort().float() - target.float().argsort().float()).abs().mean() / len(source))
    assert (left > 0).all(), "somebody is always among the pairs"
    assert float(torch.stack(near).mean()) == pytest.approx(1 / 3, abs=0.03), "two orders by chance differ by a third"


def test_a_search_among_nobody_finds_nobody() -> None:
    seen, embed = looking(embedder())
    assert Search()(embed, random_faces(0), random_faces(0)).shape == (0, 3, 4, 4)
    assert not seen


def test_in_mixed_precision_every_weight_has_a_gradient() -> None:
    """The search looks without gradients, and casts of the weights must not be kept from it."""
    made = learner()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = made.loss(FACES.load(np.arange(40)), torch.arange(40), torch.Generator())
    loss.backward()
    assert all(each.grad is not None and bool((each.grad != 0).any()) for each in made.parameters())


def test_the_triplet_is_that_of_the_formula() -> None:
    changed, source, target = (normalize(torch.randn(7, 5, dtype=torch.float64), dim=1) for _ in range(3))
    near = np.linalg.norm((changed - source).numpy(), axis=1)
    far = np.linalg.norm((changed - target).numpy(), axis=1)
    wanted = np.maximum(near - far + 0.2, 0).mean()
    assert float(triplet(changed, source, target, 0.2)) == pytest.approx(wanted, abs=1e-6)
    where = source.clone().requires_grad_(True)  # the norm has no slope at zero
    triplet(where, source, source + 1e-9, 0.2).backward()
    assert where.grad is not None and torch.isfinite(where.grad).all()
    assert float(triplet(changed[:0], source[:0], target[:0], 0.2)) == 0


def test_the_loss_is_a_third_of_classification_and_the_triplet_of_what_was_found() -> None:
    students = learner(replace(RECIPE, flip=False))
    rows = torch.arange(0, 120, 3)
    images = FACES.load(rows.numpy())
    twin = learner(replace(RECIPE, flip=False))
    loss, figures = students.loss(images, rows, torch.Generator())
    source, target = twin.pairs(twin.person[rows], torch.Generator())
    changed = twin.changed(images[source], images[target])
    z = twin.embed(torch.cat([images, changed]))[:, 0]
    named = margin_loss(RECIPE.margin, z[:40] @ normalize(twin.heads[0], dim=1).T, twin.person[rows])
    pushed = triplet(z[40:], z[:40][source], z[:40][target], 0.2)
    assert torch.equal(figures["classification"], named) and torch.equal(figures["triplet"], pushed)
    assert float(loss.detach()) == pytest.approx(float((named / 3 + pushed).detach()), rel=1e-6)
    loss.backward()
    (named / 3 + pushed).backward()
    for one, other in zip(students.parameters(), twin.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        assert torch.allclose(one.grad, other.grad, atol=1e-6), "the changed faces count as given"


def test_a_trained_recognizer_goes_on_from_its_weights_and_head(tmp_path: Path) -> None:
    asked: list[Recipe] = []

    def part(recipe: Recipe) -> Artifact:
        asked.append(recipe)
        return recipe.fit(lesson(FACES, tmp_path / "start.unfinished"))

    still = replace(RECIPE, schedule=Schedule(1, 40, 0.0))
    begun = part(START)
    kept = still.fit(lesson(FACES, tmp_path / "still.unfinished", part=part))
    assert asked[1] == START
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    for name in (name for name in begun if name.startswith(("members", "heads")) and not name.endswith(statistics)):
        assert torch.equal(begun[name], kept[name]), name
    search = Search(step=2.0)  # ten gray levels do not move a network as small as this one
    recipe = replace(RECIPE, search=search, schedule=Schedule(12, 40, 0.1, grad_clip_norm=5.0))
    made = recipe.fit(lesson(FACES, tmp_path / "made.unfinished", part=part))
    assert made.keys() - begun.keys() == {"history/triplet"}
    assert float(made["history/triplet"][-1]) < 0.5 * float(made["history/triplet"][0])
    assert float(made["history/accuracy"][-1]) > 0.9
    assert likeness(made, search) > likeness(begun, search) + 0.05


def likeness(artifact: Artifact, search: Search) -> float:
    """Mean cosine of faces with what a search makes of them."""
    module = load_member(network().module(0), artifact).eval()
    source, target = FACES.load(np.arange(60)), FACES.load(np.arange(60, 120))
    changed = search(lambda images: unit_length(module(images)), source, target)
    with torch.no_grad():
        return float((unit_length(module(changed)) * unit_length(module(source))).sum(dim=1).mean())


def test_it_goes_on_from_one_recognizer_alone() -> None:
    with pytest.raises(FrbenchError, match="training.start.members=3"):
        check_fields(replace(RECIPE, start=replace(START, members=3, shared_head=False)), "training")
    assert RECIPE.needs_recognizer is False and replace(RECIPE, start=replace(START, network=None)).needs_recognizer
