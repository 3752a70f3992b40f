"""The baselines of PIN and AIS against closed forms, brute force, scipy and scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.sparse import diags, identity, kron
from scipy.sparse.linalg import spsolve
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

import frbench.defenses.input_transforms.quilting as quilting
from frbench.defenses.input_transforms.patch_bank import PatchBank
from frbench.defenses.input_transforms.quilting import Quilt, nearest, patch_offsets
from frbench.defenses.input_transforms.total_variation import TotalVariation, TotalVariationDefense, solve_inpainting
from frbench.defenses.subspace.eigenfaces import Eigenspace, gray, to_rgb
from frbench.defenses.subspace.hard_threshold import ThresholdDefense, ThresholdedProjection
from frbench.defenses.subspace.lowpass import EqualEnergy, LowPassDefense
from frbench.defenses.subspace.masked_projection import Direct, StraightThroughMask
from frbench.defenses.subspace.pca import PcaDefense, Projection
from frbench.defenses.subspace.random_mask import RandomMaskDefense, RandomProjection
from frbench.harness.config.checks import check_fields
from frbench.harness.core.contracts import Artifact, Draw, FitContext, Fitted, Recipe
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.errors import FrbenchError
from frbench.harness.core.face_data import FaceSet
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.training.artifacts import ArtifactBuilder

SIDE, COMPONENTS = 16, 6
PIXELS = SIDE * SIDE
INDEX = torch.arange(4)
DRAW = Draw()


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(4, 3, SIDE, SIDE, generator=generator(0))


@pytest.fixture
def space() -> Fitted:
    """A mean and six orthonormal directions, as an artifact."""
    basis, _ = torch.linalg.qr(torch.randn(PIXELS, COMPONENTS, generator=generator(1)))
    return Fitted("space", "", {"mean": 0.1 * torch.randn(PIXELS, generator=generator(2)), "basis": basis})


def people(count: int, side: int = SIDE, seed: int = 0) -> FaceSet:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(count, side, side, 3)), (0, 1.5, 1.5, 0))
    stack = (noise * 200 + 128).clip(0, 255).astype(np.uint8)
    return FaceSet("toy", stack, np.arange(count), tuple(map(str, range(count))), f"toy{count}{side}{seed}")


def context(faces: FaceSet, seed: int = 0) -> FitContext:
    def part(recipe: Recipe) -> Artifact:
        return recipe.fit(context(faces, seed))

    return FitContext(faces, None, seed, torch.device("cpu"), part, Path("unused"))


def hard(space: Fitted, sparsity: float) -> ThresholdedProjection:
    return ThresholdedProjection(space, sparsity, Direct(), temperature=0.5)


def test_that_no_mask_costs_less_than_the_thresholded_one(images: torch.Tensor, space: Fitted) -> None:
    """PIN's cost on clean faces, mean squared error and sparsity, of all 64 masks."""
    sparsity, every = 1e-3, Eigenspace.of(space.tensors, torch.device("cpu"))
    faces = gray(images)
    masks = torch.tensor(list(product((0.0, 1.0), repeat=COMPONENTS)))
    rebuilt = every.faces(every.coefficients(faces)[:, None] * masks)
    costs = (rebuilt - faces[:, None]).square().mean(dim=2) + sparsity * masks.sum(dim=1)
    best = rebuilt[torch.arange(4), costs.argmin(dim=1)]
    kept = masks[costs.argmin(dim=1)].sum(dim=1)
    assert kept.min() > 0 and kept.max() < COMPONENTS, "the masks should be a choice"
    assert torch.allclose(hard(space, sparsity)(images, INDEX, DRAW), to_rgb(best, images), atol=1e-6)


def test_that_thresholding_at_zero_is_the_projection(images: torch.Tensor, space: Fitted) -> None:
    expected = Projection(space)(images, INDEX, DRAW)
    assert torch.allclose(hard(space, 0.0)(images, INDEX, DRAW), expected, atol=1e-6)
    seen = images.clone().requires_grad_()
    replace(hard(space, 0.0), gate=StraightThroughMask())(seen, INDEX, DRAW).sum().backward()
    assert seen.grad is not None and bool(torch.isfinite(seen.grad).all())


def test_that_the_soft_stand_in_sees_the_mask_move_and_the_direct_one_does_not(
    images: torch.Tensor, space: Fitted
) -> None:
    """d(gate * a)/da is the mask, and beside it a times the derivative of the sigmoid."""
    sparsity, temperature, weight = 1e-3, 0.5, torch.rand(images.shape, generator=generator(3))
    every = Eigenspace.of(space.tensors, torch.device("cpu"))
    coefficients = every.coefficients(gray(images)).requires_grad_()
    ratio = coefficients.square() / (sparsity * PIXELS)
    mask = (ratio > 1).float().detach()
    keep = torch.sigmoid((ratio - 1) / temperature)
    towards = weight.sum(dim=1).flatten(1) / 2 @ every.basis  # to_rgb halves and copies
    direct = towards * mask
    (slope,) = torch.autograd.grad(keep.sum(), coefficients)
    soft = direct + towards * coefficients.detach() * slope
    for gate, expected in ((Direct(), direct), (StraightThroughMask(), soft)):
        seen = images.clone().requires_grad_()
        out = replace(hard(space, sparsity), gate=gate)(seen, INDEX, DRAW)
        assert torch.allclose(out, hard(space, sparsity)(images, INDEX, DRAW), atol=1e-6)
        (out * weight).sum().backward()
        probe = images.clone().requires_grad_()
        (by_hand,) = torch.autograd.grad((every.coefficients(gray(probe)) * expected).sum(), probe)
        assert seen.grad is not None and torch.allclose(seen.grad, by_hand, atol=1e-5)


def test_that_equal_eigenfaces_are_fitted_once_for_all_who_use_them(tmp_path: Path) -> None:
    class Source:
        name = "toy"

    shop = ArtifactBuilder(people(30), None, ResultStore(tmp_path), 0, torch.device("cpu"))
    users = (PcaDefense(Source(), 9), ThresholdDefense(Source(), 9), RandomMaskDefense(Source(), 9, 5))  # type: ignore[arg-type]
    keys = {shop.artifact(user.recipe).key for user in users}
    shop.artifact(LowPassDefense(Source(), 9).recipe)  # type: ignore[arg-type]
    assert len(keys) == 1
    assert len(list((tmp_path / "artifacts").iterdir())) == 2, "the low-pass looks at the same eigenfaces"


def masks(space: Fitted, kept: int, index: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Which components are kept, seen from outside: coefficients of what comes out of one image for all."""
    every = Eigenspace.of(space.tensors, torch.device("cpu"))
    face = torch.rand(1, 3, SIDE, SIDE, generator=generator(4)).expand(len(index), -1, -1, -1)
    before, after = (every.coefficients(gray(x)) for x in (face, RandomProjection(space, kept)(face, index, draw)))
    found = after / before
    assert torch.allclose(found, found.round(), atol=1e-3)
    return found.round()


def test_that_a_random_mask_keeps_as_many_as_it_should_and_each_equally_often(space: Fitted) -> None:
    found = masks(space, 2, torch.arange(3000), DRAW)
    assert bool((found.sum(dim=1) == 2).all())
    assert torch.allclose(found.mean(dim=0), torch.full((COMPONENTS,), 2 / COMPONENTS), atol=5 * (2 / 9 / 3000) ** 0.5)
    both = (found.T @ found / 3000)[~torch.eye(COMPONENTS, dtype=torch.bool)]
    assert torch.allclose(both, torch.full_like(both, 1 / 15), atol=5 * (1 / 16 / 3000) ** 0.5), "each pair alike"


def test_that_a_random_mask_changes_with_the_pair_and_each_part_of_the_draw(space: Fitted) -> None:
    index = torch.arange(200)
    one = masks(space, 3, index, Draw(1, step=2, k=3))
    assert torch.equal(one, masks(space, 3, index, Draw(1, step=2, k=3)))
    others = [Draw(9, step=2, k=3), Draw(1, step=9, k=3), Draw(1, step=2, k=9), Draw(1, Stream.JUDGING, k=3)]
    for other in [masks(space, 3, index, draw) for draw in others] + [
        masks(space, 3, index + 200, Draw(1, step=2, k=3))
    ]:
        same = float((one == other).all(dim=1).float().mean())
        assert same < 0.15, "one of twenty masks, by chance"


def test_that_keeping_all_at_random_is_the_projection_and_more_than_all_is_refused(
    images: torch.Tensor, space: Fitted
) -> None:
    found = RandomProjection(space, COMPONENTS)(images, INDEX, DRAW)
    assert torch.allclose(found, Projection(space)(images, INDEX, DRAW), atol=1e-6)
    with pytest.raises(FrbenchError, match=r"defense\.kept=7 is above defense\.components=6"):
        RandomMaskDefense(None, COMPONENTS, 7, artifact=space).check_combination("defense")  # type: ignore[arg-type]


def test_that_the_low_pass_takes_the_energy_that_scikit_learns_components_leave(tmp_path: Path) -> None:
    faces = people(60, side=32)
    found = {name: float(tensor) for name, tensor in EqualEnergy(20).fit(context(faces)).items()}
    stack = gray(faces.load(np.arange(60))).double().numpy()
    reference = PCA(20, svd_solver="full").fit(stack)
    left = ((stack - reference.inverse_transform(reference.transform(stack))) ** 2).sum(axis=1).mean()
    radius = int(3 * found["sigma"] + 0.5)
    planes, sigmas, radii = stack.reshape(-1, 32, 32), (0, found["sigma"], found["sigma"]), (0, radius, radius)
    blurred = gaussian_filter(planes, sigmas, mode="mirror", radius=radii)
    lost = ((planes - blurred) ** 2).sum(axis=(1, 2)).mean()
    assert np.isclose(found["projection_residual"], left, rtol=1e-4)
    assert np.isclose(found["lowpass_residual"], lost, rtol=1e-4)
    assert np.isclose(left, lost, rtol=0.01)
    assert (
        float(EqualEnergy(40).fit(context(faces))["sigma"])
        < found["sigma"]
        < float(EqualEnergy(10).fit(context(faces))["sigma"])
    )


def test_that_a_projection_that_loses_nothing_asks_for_a_blur_that_changes_nothing() -> None:
    found = EqualEnergy(7).fit(context(people(8)))
    assert found["sigma"] < 0.3
    assert found["lowpass_residual"] < 0.01, "of 256 squared pixels"


def test_that_a_low_pass_cannot_take_more_than_there_is() -> None:
    """Brightness and a slope: one component leaves the other, and no blur takes either."""
    random = np.random.default_rng(0).normal(size=(2, 40, 1, 1, 1))
    stack = 128 + 20 * random[0] + 40 * random[1] * np.linspace(-1, 1, 16)[:, None, None] + np.zeros((1, 1, 16, 3))
    faces = replace(people(40), images=stack.clip(0, 255).astype(np.uint8))
    with pytest.raises(FrbenchError, match="use more components"):
        EqualEnergy(1).fit(context(faces))


def system(mask: np.ndarray, weight: float) -> object:
    """mask + weight * (differences' transpose times differences), as a sparse matrix over (H, W)."""

    def laplacian(size: int) -> object:
        step = diags([-np.ones(size), np.ones(size - 1)], [0, 1], shape=(size - 1, size))
        return step.T @ step

    height, width = mask.shape
    rough = kron(laplacian(height), identity(width)) + kron(identity(height), laplacian(width))
    return (diags(mask.flatten()) + weight * rough).tocsc()


def test_that_the_total_variation_minimum_is_what_scipy_solves_for() -> None:
    images = torch.rand(3, 3, 14, 10, generator=generator(0))
    mask = (torch.rand(3, 3, 14, 10, generator=generator(1)) < 0.5).float()
    found = solve_inpainting(mask * images, mask, 0.1, 60).numpy()
    for image, channel in product(range(3), range(3)):
        kept = mask[image, channel].double().numpy()
        expected = spsolve(system(kept, 0.1), (kept * images[image, channel].numpy()).flatten())
        assert np.allclose(found[image, channel].flatten(), expected, atol=1e-5)


def test_that_the_shipped_number_of_iterations_reaches_the_minimum() -> None:
    defense = TotalVariationDefense()
    images = torch.rand(2, 3, 112, 112, generator=generator(0))
    found = defense.purifier()(images, INDEX[:2], DRAW)
    longer = replace(defense, iterations=200).purifier()(images.double(), INDEX[:2], DRAW)
    assert (found - longer).abs().max() < 1e-5


def test_that_the_gradient_of_the_total_variation_minimum_is_exact() -> None:
    purify = TotalVariation(0.5, 0.1, 80, "fresh", 0)
    images = torch.rand(2, 1, 4, 3, generator=generator(0), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: purify(x, INDEX[:2], DRAW), images, atol=1e-8)


def test_that_total_variation_without_weight_is_refused() -> None:
    with pytest.raises(FrbenchError, match=r"defense\.weight=0.0 is not a number above 0"):
        check_fields(TotalVariationDefense(weight=0.0), "defense")


@settings(max_examples=25)
@given(seed=st.integers(0, 2**20), weight=st.floats(0.01, 3.0), keep=st.floats(0.1, 1.0))
def test_that_total_variation_looks_at_kept_pixels_alone_and_never_leaves_their_range(
    seed: int, weight: float, keep: float
) -> None:
    images = torch.rand(2, 3, 9, 9, generator=generator(seed), dtype=torch.float64)
    mask = (torch.rand(2, 3, 9, 9, generator=generator(seed + 1)) < keep).double()
    mask[..., 4, 4] = 1
    found = solve_inpainting(mask * images, mask, weight, 200)
    low, high = ((images if sign > 0 else -images).masked_fill(mask == 0, 9.0).amin(dim=(2, 3)) for sign in (1, -1))
    assert bool((found.amin(dim=(2, 3)) >= low - 1e-6).all() and (found.amax(dim=(2, 3)) <= -high + 1e-6).all())


@pytest.mark.parametrize("level", [0.0, 0.4])
def test_that_a_flat_image_has_no_variation_to_lose_and_a_finite_gradient(level: float) -> None:
    images = torch.full((2, 3, SIDE, SIDE), level, requires_grad=True)
    found = TotalVariation(0.5, 0.1, 100, "fixed", 0)(images, INDEX[:2], DRAW)
    assert torch.allclose(found, images, atol=1e-5)
    found.sum().backward()
    assert images.grad is not None and bool(torch.isfinite(images.grad).all())


def test_that_a_fixed_mask_is_the_seeds_and_a_fresh_one_the_draws() -> None:
    images = torch.rand(1, 3, SIDE, SIDE, generator=generator(0)).expand(4, -1, -1, -1)
    fixed, fresh = TotalVariation(0.5, 0.1, 30, "fixed", 0), TotalVariation(0.5, 0.1, 30, "fresh", 0)
    once = fixed(images, INDEX, Draw(1))
    assert torch.equal(once, fixed(images, INDEX + 5, Draw(2, step=3, k=4)))
    assert torch.equal(once, once[:1].expand_as(once))
    assert not torch.equal(once, replace(fixed, seed=1)(images, INDEX, Draw(1)))
    drawn = fresh(images, INDEX, Draw(1))
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn, fresh(images, INDEX, Draw(2)))
    assert (fixed.random, fresh.random) == (False, True)


@given(side=st.integers(11, 150), patch=st.integers(2, 11), stride=st.integers(1, 11))
def test_that_patches_cover_a_side_from_border_to_border(side: int, patch: int, stride: int) -> None:
    found = patch_offsets(side, patch, min(stride, patch))
    covered = {place + step for place in found for step in range(patch)}
    assert covered == set(range(side))
    assert len(set(found)) == len(found)


def test_that_a_face_takes_twelve_by_twelve_patches_as_the_original_had_it() -> None:
    assert patch_offsets(112, 11, 9) == [*range(0, 91, 9), 101]


def bank(count: int, patch: int) -> Fitted:
    return Fitted("bank", "", dict(PatchBank(count, patch).fit(context(people(20)))))


def test_that_the_nearest_patch_is_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    known = bank(500, 5).tensors["patches"].flatten(1).float() / 255
    wanted = torch.rand(300, known.shape[1], generator=generator(0))
    (_, expected) = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(known.numpy()).kneighbors(wanted.numpy())
    assert np.array_equal(nearest(wanted, known).numpy(), expected[:, 0])
    monkeypatch.setattr(quilting, "_DISTANCES", 3500)
    assert np.array_equal(nearest(wanted, known).numpy(), expected[:, 0]), "seven at a time"


def test_that_a_quilt_is_what_a_plain_loop_makes() -> None:
    fitted, patch, stride = bank(200, 5), 5, 4
    images = torch.rand(3, 3, 16, 19, generator=generator(0))
    known = fitted.tensors["patches"].double() / 255
    total, count = torch.zeros(images.shape, dtype=torch.float64), torch.zeros(images.shape, dtype=torch.float64)
    for image, row, column in product(range(3), patch_offsets(16, patch, stride), patch_offsets(19, patch, stride)):
        where = (image, slice(None), slice(row, row + patch), slice(column, column + patch))
        distance = (known - images[where].double()).square().sum(dim=(1, 2, 3))
        total[where] += known[distance.argmin()]
        count[where] += 1
    found = Quilt(fitted, stride)(images, INDEX[:3], DRAW)
    assert bool((count > 0).all())
    assert torch.allclose(found.double(), total / count, atol=1e-5)


def test_that_the_bank_holds_patches_of_the_faces_and_another_one_for_another_seed() -> None:
    faces = people(3, side=12)
    found = PatchBank(40, 4).fit(context(faces))["patches"].numpy()
    views = np.lib.stride_tricks.sliding_window_view(faces.images, (4, 4), axis=(1, 2)).reshape(-1, 3 * 16)
    known = {view.tobytes() for view in views}
    assert (found.dtype, found.shape) == (np.uint8, (40, 3, 4, 4))
    assert all(patch.tobytes() in known for patch in found)
    assert len({patch.tobytes() for patch in found}) > 20
    again, other = (PatchBank(40, 4).fit(context(faces, seed))["patches"].numpy() for seed in (0, 1))
    assert np.array_equal(found, again) and not np.array_equal(found, other)
