"""AIS: memory, costs and the two training phases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from frbench.attacks.projected_gradient_descent import ProjectedDescent
from frbench.defenses.subspace.ais import AdversarialLearner, AdversarialPhase, SelectorConfig, WarmUp
from frbench.defenses.subspace.ais_learner import AisCost, NoiseLearner
from frbench.defenses.subspace.ais_network import AisNetwork, Memory
from frbench.defenses.subspace.eigenfaces import Eigenspace, gray, to_rgb
from frbench.harness.core.contracts import Artifact, FitContext, Fitted, Images, Recipe
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import FaceSet
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.training.artifacts import ArtifactBuilder
from frbench.harness.training.loop import Schedule

CPU = torch.device("cpu")
BRIEF = Schedule(epochs=1, batch_size=8, lr=1e-3, optimizer="adam")
SMALL = SelectorConfig(components=12, width=2, hidden=8, memory_items=4, memory_update="hit_only", initial_keep=0.9)


class Toy:
    """unit(W * x): a recognizer with a gradient."""

    name, differentiable, digest = "toy", True, "toy"

    def __init__(self) -> None:
        self.weight = torch.randn(3 * 28 * 28, 16, generator=torch.Generator().manual_seed(0))

    def fingerprint(self) -> str:
        return self.digest

    def embed(self, images: Images) -> torch.Tensor:
        small = torch.nn.functional.avg_pool2d(images - 0.5, 4).flatten(1)
        return torch.nn.functional.normalize(small @ self.weight)


@pytest.fixture(scope="module")
def faces() -> FaceSet:
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(32, 112, 112, 3)), (0, 6, 6, 0))
    stack = np.clip(noise / noise.std() * 50 + 128, 0, 255).astype(np.uint8)
    return FaceSet("toy", stack, np.arange(32), tuple(f"p {i}" for i in range(32)), "toy-32")


@pytest.fixture(scope="module")
def space() -> Eigenspace:
    basis, _ = torch.linalg.qr(torch.randn(112 * 112, 12, generator=torch.Generator().manual_seed(1)))
    return Eigenspace(torch.zeros(112 * 112), basis)


def test_a_training_call_moves_the_nearest_item_a_thousandth_of_the_way_and_evaluation_moves_none() -> None:
    memory = Memory(3, 4, "hit_only")
    memory.items.copy_(torch.eye(4)[:3])
    features = torch.tensor([[2.0, 0.1, 0, 0], [4.0, 0, 0.1, 0], [0, 0, 3.0, 0]])
    memory.eval()(features)
    assert torch.equal(memory.items, torch.eye(4)[:3])
    memory.train()(features)
    expected = torch.eye(4)[:3].clone()
    expected[0] = 0.999 * expected[0] + 0.001 * features[:2].mean(dim=0)
    expected[2] = 0.999 * expected[2] + 0.001 * features[2]
    assert torch.allclose(memory.items, expected, atol=1e-7)


def test_that_the_reference_update_lets_items_fade_that_nothing_hits() -> None:
    memory = Memory(3, 4, "reference").train()
    memory.items.copy_(torch.eye(4)[:3])
    for _ in range(1000):
        memory(torch.tensor([[1.0, 0, 0, 0]]))
    assert memory.items[1].norm() == pytest.approx(0.999**1000, rel=1e-3)
    assert memory.items[0].norm() == pytest.approx(1, rel=1e-3)


def test_that_what_is_read_is_the_mean_of_the_items_by_the_softmax_of_cosines() -> None:
    memory = Memory(5, 6, "reference").eval()
    features = torch.randn(3, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with torch.no_grad():
        unit = nn.functional.normalize
        weights = (unit(features) @ unit(memory.items).T).exp()
        weights /= weights.sum(dim=1, keepdim=True)
    read = memory(features)
    assert torch.allclose(read, weights @ memory.items, atol=1e-6)
    assert torch.allclose(weights.sum(dim=1), torch.ones(3))
    (slope,) = torch.autograd.grad(read.square().sum(), features)
    assert bool((slope.abs().amax(dim=1) > 0).all()), "the gradient reaches the features through the weights"
    assert not list(memory.parameters())


@pytest.mark.parametrize(("leading", "kept"), [(None, [0.9] * 6), (2, [0.9, 0.9, 0.1, 0.1, 0.1, 0.1])])
def test_that_the_leading_eigenvectors_are_almost_surely_kept_at_first(leading: int | None, kept: list[float]) -> None:
    selector = SelectorConfig(components=6, width=2, hidden=8, initial_keep=0.9, initial_leading=leading)
    last = selector.network().generator[-1]
    assert isinstance(last, torch.nn.BatchNorm1d)
    torch.testing.assert_close(last.bias.detach().sigmoid(), torch.tensor(kept))


def test_the_published_sizes_have_the_counted_parameters() -> None:
    network = AisNetwork(64, 512, 1500, 128, "reference")
    head = (*network.analyzer.parameters(), *network.generator.parameters())
    assert sum(each.numel() for each in network.encoder.parameters()) == 11_525_760
    assert sum(each.numel() for each in head) == 25088 * 512 + 512 + 2 * 512 + 512 + 512 * 1500 + 1500 + 2 * 1500
    assert network.memory is not None and network.memory.items.shape == (128, 512)
    assert network.eval()(torch.zeros(2, 1, 112, 112)).shape == (2, 1500)


def learner(space: Eigenspace, cost: AisCost) -> NoiseLearner:
    torch.manual_seed(0)
    return NoiseLearner(SMALL.network(), space, cost, Toy(), strength=0.04).train()


@pytest.mark.parametrize("estimator", ["reinforce", "straight_through"])
def test_the_cost_is_that_of_the_images_that_the_masks_give(estimator: str, space: Eigenspace, faces: FaceSet) -> None:
    """Against a loop over images and masks with masked copies of the basis, the originals' way."""
    cost = AisCost(sparsity=0.01, identity_loss=8.0, estimator=estimator, mask_samples=3)  # type: ignore[arg-type]
    images, made = faces.load(np.arange(4)), learner(space, cost)
    rows = torch.arange(4)
    seen: dict[str, Any] = {}
    original = made.mask_costs

    def spy(gated: torch.Tensor, bits: torch.Tensor, *rest: Any) -> Any:
        seen.update(gated=gated.detach(), bits=bits.detach(), found=original(gated, bits, *rest))
        return seen["found"]

    made.mask_costs = spy  # type: ignore[method-assign]
    loss, figures = made.loss(images, rows, torch.Generator().manual_seed(3))
    attacked = made.perturb(images, rows, torch.Generator().manual_seed(3))
    clean = gray(images)
    for b in range(4):
        for k in range(3):
            mask = seen["bits"][b, k].round()
            basis = space.basis[:, mask.bool()]
            face = basis @ (basis.T @ (attacked[b] - space.mean)) + space.mean
            two = [made.recognizer.embed(to_rgb(each[None], images)) for each in (face, clean[b])]
            expected = (face - clean[b]).square().mean() + 0.01 * mask.sum() + 8 * (1 - (two[0] * two[1]).sum())
            assert seen["found"][0][b, k].item() == pytest.approx(expected.item(), abs=2e-4)
    loss.backward()
    assert all(each.grad is not None for each in made.network.encoder.parameters())
    assert set(figures) >= {"sparsity", "specificity", "mutation", "spread", "live_items", "cosine"}


def test_that_specificity_is_the_mean_hamming_distance_of_two_masks(space: Eigenspace) -> None:
    made, keep = learner(space, AisCost()), torch.rand(6, 12, generator=torch.Generator().manual_seed(5))
    chosen = keep > 0.5
    distances = [(chosen[i] != chosen[j]).sum().item() for i in range(6) for j in range(i)]
    assert made.metrics(keep)["specificity"].item() == pytest.approx(np.mean(distances), rel=1e-5)


def adversarial_phase(**changes: Any) -> AdversarialPhase:
    cost = AisCost(estimator="straight_through", mask_samples=1)
    return replace(
        AdversarialPhase(WarmUp(SMALL, cost, BRIEF), ProjectedDescent(steps=1, rel_stepsize=1.0), BRIEF), **changes
    )


def adversarial_learner(space: Eigenspace, recipe: AdversarialPhase, per_epoch: int = 4) -> AdversarialLearner:
    torch.manual_seed(0)
    parts = (SMALL.network(), space, recipe.warmup.cost, Toy())
    return AdversarialLearner(*parts, recipe=recipe, artifact=Fitted("x", "", {}), per_epoch=per_epoch).train()


def test_that_the_training_attack_beats_random_signs_and_keeps_its_radius(space: Eigenspace, faces: FaceSet) -> None:
    images, rows, recipe = faces.load(np.arange(16)), torch.arange(16), adversarial_phase()
    made = adversarial_learner(space, recipe)
    attacked = made.perturb(images, rows, torch.Generator())
    change = attacked - gray(images)
    assert change.abs().max() <= 0.04 + 1e-5, "0.02 in [0, 1] is 0.04 in [-1, 1]"
    assert change.abs().mean() > 0.03
    signs = torch.randn(change.shape, generator=torch.Generator().manual_seed(0)).sign() * 0.04
    keep = made.average(attacked.reshape(-1, 1, 112, 112)).sigmoid()

    def likeness(noise: torch.Tensor) -> torch.Tensor:
        projected = space.faces(keep * space.coefficients(gray(images) + noise))
        both = [Toy().embed(to_rgb(each, images)) for each in (projected, gray(images))]
        return (both[0] * both[1]).sum(dim=1).mean()

    assert likeness(change) < likeness(signs) - 1e-3
    assert not made.average.training, "one image's masks must not depend on the others"


def test_that_the_ema_is_updated_every_few_steps_and_has_no_gradient(space: Eigenspace) -> None:
    made = adversarial_learner(space, adversarial_phase(ema_update_every=2, ema_decay=0.9))
    first = made.network.generator[0].weight.detach().clone()
    with torch.no_grad():
        made.network.generator[0].weight.add_(1.0)
    weight = made.average.module.generator[0].weight
    made.after_step(1)
    assert torch.equal(weight, first)
    made.after_step(2)
    assert torch.allclose(weight, first + 0.1, atol=1e-6)
    assert not any(each.requires_grad for each in made.average.parameters())


@pytest.mark.parametrize("clip_attacked", [True, False])
def test_that_attacked_images_leave_the_range_of_images_only_where_nothing_clamps_them(
    clip_attacked: bool, space: Eigenspace
) -> None:
    """Black and white blocks, which every step of the attack takes out of range at about half of their pixels."""
    blocks = np.kron(np.random.default_rng(0).integers(0, 2, (8, 14, 14, 3)), np.ones((1, 8, 8, 1)))
    images = torch.from_numpy(blocks).permute(0, 3, 1, 2).float()
    made = adversarial_learner(space, adversarial_phase(clip_attacked=clip_attacked))
    attacked = made.perturb(images, torch.arange(8), torch.Generator())
    change = (attacked - gray(images)).abs()
    if clip_attacked:
        assert attacked.abs().max() <= 1 + 1e-5
        assert change.min() < 0.03
    else:
        assert attacked.abs().max() == pytest.approx(1.04, abs=1e-5)
        assert change[change > 1e-6].min() == pytest.approx(0.04, abs=1e-5)


@pytest.mark.parametrize(("within", "per_epoch"), [("epoch", 50), ("epoch", 41), ("epoch", 20), ("training", 50)])
def test_that_the_ema_is_updated_at_the_steps_of_the_authors_code(
    within: str, per_epoch: int, space: Eigenspace
) -> None:
    """Their steps count from 0 in each epoch, and step 0 is none: 20 and 40 of 50, never in an epoch of 20."""
    recipe = adversarial_phase(ema_update_every=20, ema_decay=0.9, ema_counter_scope=within)
    made, learnt = adversarial_learner(space, recipe, per_epoch), []
    weight = made.average.module.generator[0].weight
    for epoch in range(2):
        for step in range(per_epoch):
            with torch.no_grad():
                made.network.generator[0].weight.add_(1.0)
            before = weight.clone()
            made.after_step(epoch * per_epoch + step + 1)
            learnt += [] if torch.equal(weight, before) else [epoch * per_epoch + step]
    theirs = [e * per_epoch + i for e in range(2) for i in range(per_epoch) if i % 20 == 0 and i > 0]
    assert learnt == (theirs if within == "epoch" else [19, 39, 59, 79, 99])


def test_that_the_adversarial_phase_starts_from_the_warm_up_and_both_are_fitted_once(
    faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, calls = ResultStore(tmp_path), []
    fit: Callable[..., Artifact] = WarmUp.fit

    def counted(self: WarmUp, context: FitContext) -> Artifact:
        calls.append(1)
        return fit(self, context)

    monkeypatch.setattr(WarmUp, "fit", counted)
    few = replace(faces, images=faces.images[:16], identity=faces.identity[:16], digest="toy-16")
    workshop, recipe = ArtifactBuilder(few, Toy(), store, 0, CPU), adversarial_phase(schedule=replace(BRIEF, epochs=0))
    after, before = workshop.part(recipe), workshop.part(recipe.warmup)
    assert calls == [1]
    same = [name for name in before if name.startswith("network/")]
    assert same and all(torch.equal(after[name], before[name]) for name in same), "no epoch, no change"


def test_that_a_recognizer_without_gradients_is_refused_in_one_line(faces: FaceSet) -> None:
    class Blind(Toy):
        differentiable = False

    def no_part(recipe: Recipe) -> Artifact:
        raise AssertionError

    context = FitContext(faces, Blind(), 0, CPU, no_part, Path("unused"))
    with pytest.raises(FrbenchError, match="toy has no gradients"):
        adversarial_phase().fit(context)
