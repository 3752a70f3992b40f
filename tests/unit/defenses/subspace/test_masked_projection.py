"""The masked projection of PIN and AIS and its relaxations: forward values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import torch
from conftest import LinearRecognizer
from support.reference_fits import CPU, eigenfaces, faces
from torch import Tensor, nn

from frbench.defenses.subspace.eigenfaces import Eigenspace, gray
from frbench.defenses.subspace.masked_projection import (
    Direct,
    MaskedProjection,
    MeanMask,
    SelectionDefense,
    SelectionGradient,
    StraightThroughMask,
    WithinSubspace,
)
from frbench.harness.core.contracts import Draw, Fitted, Images
from frbench.harness.core.counter_rng import Stream, uniform
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.purifiers import Purifier
from frbench.harness.core.verifiers import Averaged, CosineVerifier, purified

SIDE, N, B = 8, 12, 4
LUMA = torch.tensor([0.299, 0.587, 0.114])  # ITU-R 601
INDEX = torch.arange(B)
DRAW = Draw(5, step=3, k=1)
OTHER_DRAWS = (DRAW._replace(seed=9), DRAW._replace(step=9), DRAW._replace(k=9))


class LinearSelector(nn.Module):
    """A linear network over the pixels that counts how often it is asked."""

    def __init__(self, scale: float = 0.4) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(scale * torch.randn(SIDE**2, N, generator=generator), requires_grad=False)
        self.calls = 0

    def forward(self, pictures: Tensor) -> Tensor:
        self.calls += 1
        assert pictures.shape[1:] == (1, SIDE, SIDE)
        return pictures.flatten(1) @ self.weight


@pytest.fixture
def purifier() -> MaskedProjection:
    artifact = eigenfaces(faces(100, SIDE), N)
    return MaskedProjection(Fitted("key", "sha", artifact), LinearSelector(), Eigenspace.of(artifact, CPU))


@pytest.fixture
def images() -> Images:
    return faces(B, SIDE, seed=4).load(INDEX.numpy())


def probabilities(purifier: MaskedProjection, images: Images) -> Tensor:
    return (gray(images) @ purifier.selector.weight).sigmoid()  # type: ignore[operator]


def gradient(purifier: Purifier, images: Images, towards: Tensor, draw: Draw = DRAW) -> Tensor:
    """Of <towards, purified images> with respect to the images."""
    seen = images.clone().requires_grad_()
    (found,) = torch.autograd.grad((purifier(seen, INDEX, draw) * towards).sum(), seen)
    return found


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_forward_it_is_the_raw_face_on_the_eigenvectors_that_the_draw_keeps(
    purifier: MaskedProjection, images: Images
) -> None:
    keep = probabilities(purifier, images) > uniform(INDEX, DRAW, (N,))
    assert 0 < keep.sum() < keep.numel()
    mean, basis = purifier.space.mean.double(), purifier.space.basis.double()
    found = purifier(images, INDEX, DRAW)
    for face, mask, out in zip(gray(images).double(), keep, found, strict=True):
        kept = basis[:, mask]
        expected = (mean + kept @ kept.T @ (face - mean) + 1) / 2
        for channel in out:
            assert (channel.flatten() - expected).abs().max() < 1e-5


def test_nothing_is_clipped(purifier: MaskedProjection) -> None:
    bright = torch.ones(B, 3, SIDE, SIDE)
    everything = replace(purifier, selector=_Constant(50.0))
    assert everything(bright, INDEX, DRAW).max() > 1


class _Constant(nn.Module):
    def __init__(self, logit: float) -> None:
        super().__init__()
        self.logit = logit

    def forward(self, pictures: Tensor) -> Tensor:
        return torch.full((len(pictures), N), self.logit)


def test_the_jacobian_of_a_drawn_mask_is_its_projector_on_the_gray_values(
    purifier: MaskedProjection, images: Images
) -> None:
    """J v = E_s E_s^T (luma . v) in each of the three equal channels, by autograd against matrices."""
    towards = random(B, 3, SIDE, SIDE)
    _, found = torch.func.jvp(lambda x: purifier(x, INDEX, DRAW), (images,), (towards,))
    masks = probabilities(purifier, images) > uniform(INDEX, DRAW, (N,))
    for v, mask, moved in zip(towards, masks, found, strict=True):
        kept = purifier.space.basis[:, mask].double()
        expected = kept @ kept.T @ torch.einsum("chw,c->hw", v, LUMA).flatten().double()
        for channel in moved:
            assert (channel.flatten() - expected).abs().max() < 1e-5
    assert found.abs().max() > 0.1


def test_the_mean_masks_gradient_is_that_of_finite_differences(purifier: MaskedProjection, images: Images) -> None:
    smooth = replace(purifier, gate=MeanMask())
    towards, step = random(B, 3, SIDE, SIDE), 0.01
    found = gradient(smooth, images, towards)
    for seed in range(3):
        way = random(B, 3, SIDE, SIDE, seed=10 + seed)
        ahead, behind = (smooth(images + sign * step * way, INDEX, DRAW).double() for sign in (1, -1))
        slope = ((ahead - behind) * towards).sum(dim=(1, 2, 3)) / (2 * step)
        expected = (found * way).sum(dim=(1, 2, 3)).double()
        assert torch.allclose(slope, expected, rtol=5e-3, atol=5e-3)
    held = replace(purifier, gate=Direct())
    assert not torch.allclose(found, gradient(held, images, towards), atol=1e-2), "the network has no part in it"


def test_straight_through_is_the_truth_forward_and_both_ways_backward(
    purifier: MaskedProjection, images: Images
) -> None:
    through, steering = replace(purifier, gate=StraightThroughMask()), replace(purifier, gate=SelectionGradient())
    towards = random(B, 3, SIDE, SIDE)
    for each in (through, steering):
        assert torch.allclose(each(images, INDEX, DRAW), purifier(images, INDEX, DRAW), atol=1e-6)
    straight, direct, mask = (gradient(each, images, towards) for each in (through, purifier, steering))
    assert torch.allclose(straight, direct + mask, atol=1e-5)
    assert min(float(direct.abs().max()), float(mask.abs().max())) > 0.01


def test_steering_moves_by_the_choice_alone(purifier: MaskedProjection, images: Images) -> None:
    """d/dx sum_i g_i a_i p_i(x) with the coefficients a held: worked out for the linear selector."""
    towards = random(B, 3, SIDE, SIDE)
    found = gradient(replace(purifier, gate=SelectionGradient()), images, towards)
    keep, pull = probabilities(purifier, images), towards.sum(dim=1).flatten(1) / 2 @ purifier.space.basis
    per_logit = pull * purifier.space.coefficients(gray(images)) * keep * (1 - keep)
    per_gray = per_logit @ purifier.selector.weight.T * 2  # type: ignore[operator]
    expected = torch.einsum("bp,c->bcp", per_gray, LUMA).reshape(B, 3, SIDE, SIDE)
    assert torch.allclose(found, expected, atol=1e-5)
    blind = replace(purifier, gate=SelectionGradient(), selector=_Constant(0.0))
    seen = images.clone().requires_grad_()
    assert not blind(seen, INDEX, DRAW).requires_grad, "a choice that nothing moves leaves nothing to steer"


@pytest.mark.parametrize("inner", [Direct(), StraightThroughMask()], ids=["direct", "straight through"])
def test_within_the_subspace_the_gradient_lies_in_the_leading_eigenvectors(
    inner: Direct | StraightThroughMask, purifier: MaskedProjection, images: Images
) -> None:
    usual = replace(purifier, gate=inner)
    within, towards = WithinSubspace(usual, purifier.space, leading=5), random(B, 3, SIDE, SIDE)
    assert torch.allclose(within(images, INDEX, DRAW), usual(images, INDEX, DRAW), atol=1e-6)
    found, free = (gradient(each, images, towards) for each in (within, usual))
    leading = purifier.space.basis[:, :5]
    channels = found.flatten(2)
    assert (channels @ leading @ leading.T - channels).abs().max() < 1e-5
    expected = torch.einsum("bp,c->bcp", free.sum(dim=1).flatten(1) @ leading @ leading.T, LUMA)
    assert torch.allclose(channels, expected, atol=1e-5)
    assert channels.abs().max() > 1e-2
    assert (free.flatten(2) @ leading @ leading.T - free.flatten(2)).abs().max() > 1e-2, "it was there already"


def test_only_drawn_masks_are_random(purifier: MaskedProjection, images: Images) -> None:
    for mask in ("threshold_half", "threshold_mean"):
        fixed = replace(purifier, mask=mask)
        assert not fixed.random
        assert torch.equal(fixed(images, INDEX, DRAW), fixed(images, INDEX + 9, Draw(8, step=8, k=8)))
    smooth = replace(purifier, gate=MeanMask())
    assert not smooth.random
    assert torch.equal(smooth(images, INDEX, DRAW), smooth(images, INDEX + 9, Draw(8, step=8, k=8)))
    assert purifier.random
    once = purifier(images, INDEX, DRAW)
    assert torch.equal(purifier(images, INDEX, DRAW), once)
    for other in (
        purifier(images, INDEX + 9, DRAW),
        *(purifier(images, INDEX, draw) for draw in OTHER_DRAWS),
    ):
        assert bool(((other - once).flatten(1).abs().amax(dim=1) > 1e-3).all())


def test_half_keeps_what_is_likelier_kept_and_mean_what_is_likelier_than_the_images_mean(
    purifier: MaskedProjection, images: Images
) -> None:
    keep = probabilities(purifier, images)
    expected = {"threshold_half": keep > 0.5, "threshold_mean": keep > keep.mean(dim=1, keepdim=True)}
    assert not torch.equal(expected["threshold_half"], expected["threshold_mean"])
    for mask, kept in expected.items():
        inside = purifier.space.coefficients(gray(replace(purifier, mask=mask)(images, INDEX, DRAW)))  # type: ignore[arg-type]
        assert torch.allclose(inside, kept * purifier.space.coefficients(gray(images)), atol=1e-5)


def test_the_mean_of_many_draws_is_what_the_mean_mask_shows(purifier: MaskedProjection, images: Images) -> None:
    resample, count = purifier.purify_once(images, INDEX), 4000
    found = torch.stack([resample(Draw(0, step=0, k=k)) for k in range(count)])
    shown = replace(purifier, gate=MeanMask())(images, INDEX, DRAW)
    error = (found.mean(dim=0) - shown).abs()
    assert bool((error < 5 * found.std(dim=0) / count**0.5 + 1e-6).all())
    assert found.std(dim=0).mean() > 0.01


@pytest.mark.parametrize("mask", ["bernoulli", "threshold_half", "threshold_mean"])
@pytest.mark.parametrize(
    "gate", [Direct(), MeanMask(), StraightThroughMask(), SelectionGradient()], ids=lambda gate: type(gate).__name__
)
def test_purify_once_gives_what_a_call_gives_for_any_draw(
    mask: str, gate: Direct | MeanMask, purifier: MaskedProjection, images: Images
) -> None:
    each = replace(purifier, mask=mask, gate=gate)  # type: ignore[arg-type]
    resample = each.purify_once(images, INDEX)
    for draw in (Draw(), DRAW, Draw(1, Stream.JUDGING, k=2)):
        assert torch.equal(resample(draw), each(images, INDEX, draw))


class Recipe:
    """A recipe of which only the network is needed."""

    needs_recognizer = False

    def network(self) -> LinearSelector:
        return LinearSelector()


class OneDefense(SelectionDefense):
    option = "one"


def test_a_defense_has_five_relaxations_and_the_first_is_the_defense_itself(
    purifier: MaskedProjection, images: Images
) -> None:
    with pytest.raises(FrbenchError, match="defense=one is not fitted; run: frbench fit defense=one"):
        OneDefense(None, Recipe()).differentiable_purifiers()  # type: ignore[arg-type]
    weight = {"network/weight": 2 * purifier.selector.weight}
    artifact = Fitted("key", "sha", {**purifier.artifact.tensors, **weight})  # type: ignore[dict-item]
    defense = OneDefense(None, Recipe(), mask="threshold_half").fitted(artifact)  # type: ignore[arg-type]
    found = defense.differentiable_purifiers()
    assert list(found) == ["direct", "mean_mask", "straight_through", "subspace", "steering"]
    truth = defense.purifier()(images, INDEX, DRAW)
    twice = LinearSelector(0.8)
    assert torch.equal(truth, replace(purifier, selector=twice, mask="threshold_half")(images, INDEX, DRAW))
    shown = {name: each(images, INDEX, DRAW) for name, each in found.items()}
    assert torch.equal(shown.pop("direct"), truth)
    assert not torch.allclose(shown.pop("mean_mask"), truth, atol=1e-2)
    assert all(torch.allclose(each, truth, atol=1e-6) for each in shown.values())


@dataclass(frozen=True)
class Hidden:
    """A purifier that does not show that its draws share work."""

    purifier: MaskedProjection = field(compare=False)
    differentiable = True
    random = True

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        return self.purifier(images, index, draw)


@pytest.mark.parametrize("gate", [Direct(), StraightThroughMask()], ids=["direct", "straight through"])
def test_averaging_asks_the_network_once_for_all_draws_and_gives_the_same_scores_and_gradients(
    gate: Direct | StraightThroughMask,
    purifier: MaskedProjection,
    images: Images,
    linear: Callable[..., LinearRecognizer],
) -> None:
    purifier = replace(purifier, gate=gate)
    selector, found, asked = purifier.selector, [], []
    assert isinstance(selector, LinearSelector)
    for each in (purifier, Hidden(purifier)):
        verifier = Averaged(purified(CosineVerifier(linear(SIDE)), each, "both"), 6)
        template = verifier.enroll(faces(B, SIDE, seed=8).load(INDEX.numpy()), INDEX, Draw(2))
        probe, selector.calls = images.clone().requires_grad_(), 0
        scores = verifier.score(probe, template, Draw(2, step=7))
        asked.append(selector.calls)
        found.append((scores, *torch.autograd.grad(scores.sum(), probe)))
    assert asked == [1, 6]
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(*found, strict=True))
    assert found[0][1].abs().max() > 1e-3


def test_the_network_is_left_out_of_the_graph_where_its_gradient_is_not_asked_for(
    purifier: MaskedProjection, images: Images
) -> None:
    """Otherwise the direct attacker would pay for a backward pass through the network, for nothing."""
    passed: list[bool] = []

    class Watching(LinearSelector):
        def forward(self, pictures: Tensor) -> Tensor:
            passed.append(torch.is_grad_enabled())
            return super().forward(pictures)

    for gate in (Direct(), MeanMask(), StraightThroughMask(), SelectionGradient()):
        replace(purifier, selector=Watching(), gate=gate)(images.clone().requires_grad_(), INDEX, DRAW)  # type: ignore[arg-type]
    assert passed == [False, True, True, True]
    passed.clear()
    with torch.no_grad():
        replace(purifier, selector=Watching(), gate=MeanMask())(images, INDEX, DRAW)
    assert passed == [False]
