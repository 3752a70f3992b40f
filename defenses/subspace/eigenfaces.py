"""Eigenfaces: the PCA basis of gray faces in [-1, 1] on which PIN, AIS and their baselines project.

Eigenvectors come from the smaller of two symmetric matrices: the covariance of pixels, accumulated in chunks, or the
Gram matrix of faces (Sirovich and Kirby, 1987). Both are solved in float64, and the basis is checked to be orthonormal.

The method: docs/methods/subspace_projections.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor

from frbench.harness.core.contracts import Artifact, FitContext
from frbench.harness.core.errors import ConfigError, FrbenchError
from frbench.harness.core.face_data import FaceSet, Images
from frbench.harness.runtime.progress import over

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, as Pillow's "L"
_CHUNK = 512


def gray(images: Images) -> Tensor:
    """Convert RGB images (N, 3, H, W) in [0, 1] to gray faces (N, H * W) in [-1, 1]."""
    weights = torch.tensor(_LUMA, dtype=images.dtype, device=images.device)
    return torch.einsum("nchw,c->nhw", images, weights).flatten(1) * 2 - 1


def to_rgb(faces: Tensor, like: Images) -> Images:
    """Convert gray faces (..., H * W) in [-1, 1] to three equal channels (..., 3, H, W) in [0, 1], without clipping."""
    height, width = like.shape[-2:]
    face = ((faces + 1) / 2).reshape(*faces.shape[:-1], 1, height, width)
    return face.expand(*faces.shape[:-1], 3, height, width)


@dataclass(frozen=True)
class Eigenspace:
    """An affine subspace of gray faces in [-1, 1].

    Attributes:
        mean: mean face (D,).
        basis: orthonormal eigenvectors (D, N) as columns.
    """

    identity = "subspace.eigenfaces"
    version = 1

    mean: Tensor
    basis: Tensor

    @classmethod
    def of(cls, artifact: Artifact, device: torch.device) -> Eigenspace:
        """Read ``mean`` and ``basis`` from an artifact."""
        return cls(artifact["mean"].to(device), artifact["basis"].to(device))

    def coefficients(self, faces: Tensor) -> Tensor:
        """Coefficients ``E^T (x - mean)`` (B, N) of gray faces (B, D)."""
        return (faces - self.mean) @ self.basis

    def faces(self, coefficients: Tensor) -> Tensor:
        """Gray faces ``mean + E a`` (..., D) of coefficients (..., N), which may be masked."""
        return self.mean + coefficients @ self.basis.T

    def project(self, images: Images) -> Images:
        """Project gray faces, ``mean + E E^T (x - mean)``, and copy them to three channels."""
        return to_rgb(self.faces(self.coefficients(gray(images))), images)


@dataclass(frozen=True)
class Eigenfaces:
    """Recipe of ``mean`` (D,), ``basis`` (D, components) and ``eigenvalues`` (components,) in float32 of all faces."""

    identity = "recipe.eigenfaces"
    version = 1

    components: int

    needs_recognizer = False

    def fit(self, context: FitContext) -> Artifact:
        """Compute the basis.

        Raises:
            ConfigError: more components than faces - 1 or than pixels.
        """
        faces = context.faces
        count, size = len(faces.images), faces.images.shape[1] * faces.images.shape[2]
        if not 0 < self.components <= min(count - 1, size):
            raise ConfigError(
                f"components={self.components}, expected 1 to {min(count - 1, size)} for the {count} faces of {size} "
                f"pixels in {faces.name}; use fewer components or more faces"
            )
        solve = _by_pixels if size <= count else _by_faces
        mean, values, basis = solve(faces, self.components, context.device)
        _check(basis)
        tensors = {"mean": mean, "basis": basis, "eigenvalues": values / (count - 1)}
        return {name: torch.from_numpy(np.ascontiguousarray(each, dtype=np.float32)) for name, each in tensors.items()}


def chunks(faces: FaceSet, device: torch.device) -> Iterator[Tensor]:
    """Iterate over the gray faces of a set in chunks of up to 512, each (B, D) in [-1, 1], with a progress bar."""
    for first in over(range(0, len(faces.images), _CHUNK), "gray faces", "faces", _CHUNK):
        rows = np.arange(first, min(first + _CHUNK, len(faces.images)))
        yield gray(faces.load(rows, device))


Solved = tuple[np.ndarray, np.ndarray, np.ndarray]  # mean (D,), leading sums of squares (N,), vectors (D, N)


def _by_pixels(faces: FaceSet, components: int, device: torch.device) -> Solved:
    """Diagonalise the covariance of pixels, accumulated in float64 without holding all faces."""
    size = faces.images.shape[1] * faces.images.shape[2]
    total = torch.zeros(size, dtype=torch.float64, device=device)
    scatter = torch.zeros(size, size, dtype=torch.float64, device=device)
    for chunk in chunks(faces, device):
        part = chunk.double()
        total += part.sum(dim=0)
        scatter.addmm_(part.T, part)
    mean = total / len(faces.images)
    scatter.addr_(mean, mean, alpha=-len(faces.images))
    values, vectors = _leading(scatter, components)
    return mean.cpu().numpy(), values, vectors


def _by_faces(faces: FaceSet, components: int, device: torch.device) -> Solved:
    """Diagonalise the Gram matrix of faces, which is smaller if there are fewer faces than pixels."""
    stack = torch.cat(list(chunks(faces, device)))
    mean = stack.mean(dim=0, dtype=torch.float64)
    stack -= mean.float()
    inner = torch.zeros(len(stack), len(stack), dtype=torch.float64, device=device)
    for part in stack.T.split(_CHUNK):
        inner.addmm_(part.T.double(), part.double())
    values, vectors = _leading(inner, components)
    basis = stack.T.double() @ torch.from_numpy(vectors.copy()).to(device)
    unit, _ = np.linalg.qr(basis.cpu().numpy())  # columns are orthogonal; QR normalises them
    return mean.cpu().numpy(), values, unit


def _leading(matrix: Tensor, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest eigenvalues of a symmetric matrix in descending order, and their eigenvectors as columns."""
    side = len(matrix)
    wanted = (side - components, side - 1)
    values, vectors = eigh(matrix.cpu().numpy(), subset_by_index=wanted, overwrite_a=True, check_finite=False)
    return values[::-1], vectors[:, ::-1]


def _check(basis: np.ndarray) -> None:
    error = float(np.abs(basis.T @ basis - np.eye(basis.shape[1])).max())
    if error > 1e-4:
        raise FrbenchError(
            f"the PCA basis is not orthonormal (error {error:.1e}, expected at most 1e-4); check the faces"
        )
