"""Eigenfaces against scikit-learn, and projections against plain linear algebra."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from PIL import Image
from sklearn.decomposition import PCA
from support.reference_fits import CPU, context, eigenfaces, faces

from frbench.defenses.subspace import eigenfaces as eigenspace
from frbench.defenses.subspace.eigenfaces import Eigenspace, gray, to_rgb
from frbench.harness.core.errors import FrbenchError


@pytest.fixture(scope="module")
def space() -> Eigenspace:
    """Twenty eigenfaces of 16x16 pixels."""
    return Eigenspace.of(eigenfaces(faces(60, 16), 20), CPU)


def test_gray_is_pillows_and_runs_from_minus_one_to_one() -> None:
    people = faces(3, 16)
    expected = np.stack([np.asarray(Image.fromarray(each).convert("L")) for each in people.images]) / 127.5 - 1
    found = gray(people.load(np.arange(3))).reshape(3, 16, 16)
    assert np.abs(found.numpy() - expected).max() < 1.01 / 127.5  # Pillow rounds to whole gray values
    ends = torch.stack([torch.zeros(3, 4, 4), torch.ones(3, 4, 4)])
    assert torch.allclose(gray(ends), torch.tensor([[-1.0], [1.0]]).expand(2, 16))
    assert torch.allclose(gray(to_rgb(found.flatten(1), torch.empty(3, 3, 16, 16))), found.flatten(1), atol=1e-6)


@pytest.mark.parametrize(("count", "size"), [(60, 16), (400, 8)], ids=["fewer faces than pixels", "more faces"])
def test_eigenfaces_are_scikit_learns(count: int, size: int) -> None:
    people = faces(count, size)
    found = eigenfaces(people, 10)
    stack = gray(people.load(np.arange(count))).numpy()
    reference = PCA(10, svd_solver="full").fit(stack.astype(np.float64))
    assert np.allclose(found["mean"], reference.mean_, atol=1e-5)
    assert np.allclose(found["eigenvalues"], reference.explained_variance_, rtol=1e-3)
    cosines = np.abs((found["basis"].numpy().T * reference.components_).sum(1))
    assert np.allclose(cosines, 1, atol=1e-3)
    assert np.abs(found["basis"].numpy().T @ found["basis"].numpy() - np.eye(10)).max() < 1e-4


@pytest.mark.parametrize(("count", "size"), [(60, 16), (400, 8)], ids=["fewer faces than pixels", "more faces"])
def test_the_solver_by_pixels_and_the_one_by_faces_agree(
    count: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eigenspace, "_CHUNK", 37)  # the last chunk is short
    people = faces(count, size)
    mean, values, basis = eigenspace._by_pixels(people, 12, CPU)
    same_mean, same_values, same_basis = eigenspace._by_faces(people, 12, CPU)
    assert np.allclose(mean, same_mean, atol=1e-6)
    assert np.allclose(values, same_values, rtol=1e-4)
    assert (np.diff(values) < 0).all() and (np.diff(same_values) < 0).all()
    assert np.allclose(np.abs((basis * same_basis).sum(axis=0)), 1, atol=1e-4)
    assert np.abs(basis @ basis.T - same_basis @ same_basis.T).max() < 1e-3


def test_all_components_of_a_small_space_reproduce_the_face() -> None:
    people = faces(200, 8)
    whole = Eigenspace.of(eigenfaces(people, 64), CPU)
    strangers = gray(faces(20, 8, seed=1).load(np.arange(20)))
    assert (whole.faces(whole.coefficients(strangers)) - strangers).abs().max() < 1e-4


def test_as_many_components_as_faces_have_freedom_reproduce_those_faces() -> None:
    people = faces(60, 16)
    whole = Eigenspace.of(eigenfaces(people, 59), CPU)
    images = people.load(np.arange(60))
    plain = ((gray(images) + 1) / 2).reshape(-1, 1, 16, 16).expand(-1, 3, -1, -1)
    assert (whole.project(images) - plain).abs().max() < 1e-3


def test_a_projection_changes_nothing_the_second_time(space: Eigenspace) -> None:
    images = faces(9, 16, seed=2).load(np.arange(9))
    once = space.project(images)
    assert (once - images).abs().max() > 0.1
    assert (space.project(once) - once).abs().max() < 1e-5


@given(seed=st.integers(0, 2**32 - 1), size=st.floats(1e-3, 2.0), masked=st.booleans())
def test_a_projection_never_amplifies(space: Eigenspace, seed: int, size: float, masked: bool) -> None:
    """||P delta|| <= ||delta|| on gray values, on any mask."""
    generator = torch.Generator().manual_seed(seed)
    faces_at, delta = torch.randn(2, 5, 256, generator=generator)
    delta = size * delta
    mask = torch.randint(0, 2, (5, 20), generator=generator).float() if masked else torch.ones(5, 20)

    def projected(gray_faces: torch.Tensor) -> torch.Tensor:
        return space.faces(mask * space.coefficients(gray_faces))

    moved = projected(faces_at + delta) - projected(faces_at)
    assert bool((moved.norm(dim=1) <= delta.norm(dim=1) * (1 + 1e-5) + 1e-5).all())


def test_many_masks_at_once_are_the_masked_matrices_one_by_one(space: Eigenspace) -> None:
    """E (s * a) without a masked copy of E, against E_s E_s^T (x - mu) + mu as the originals compute it."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.randint(0, 2, (4, 7, 20), generator=generator).float()
    people = gray(faces(4, 16, seed=3).load(np.arange(4)))
    found = space.faces(masks * space.coefficients(people)[:, None])
    assert found.shape == (4, 7, 256)
    for face, of_face, made in zip(people, masks, found, strict=True):
        for mask, one in zip(of_face, made, strict=True):
            kept = space.basis[:, mask.bool()].double()
            expected = kept @ kept.T @ (face - space.mean).double() + space.mean.double()
            assert (one - expected).abs().max() < 1e-5


def test_faces_that_are_there_twice_leave_the_basis_orthonormal() -> None:
    """Fewer directions than components: the rest of the basis is any orthonormal rest, and nothing is NaN."""
    people = faces(12, 16)
    doubled = replace(people, images=np.concatenate([people.images, people.images]), identity=np.arange(24))
    basis = eigenfaces(doubled, 20)["basis"]
    assert (basis.T @ basis - torch.eye(20)).abs().max() < 1e-4


def test_more_components_than_faces_is_an_error() -> None:
    with pytest.raises(FrbenchError, match="fewer components"):
        eigenfaces(faces(20, 16), 20)
    with pytest.raises(FrbenchError, match="fewer components"):
        eigenfaces(faces(100, 8), 65)


def test_the_seed_and_the_names_of_people_do_not_enter() -> None:
    people = faces(30, 16)
    found = eigenfaces(people, 5)
    other = eigenspace.Eigenfaces(5).fit(context(replace(people, people=()), seed=7))
    assert all(torch.equal(found[name], other[name]) for name in found)
