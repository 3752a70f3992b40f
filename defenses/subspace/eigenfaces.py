"""The PCA substrate: a mean face and leading eigenfaces of gray faces in [-1, 1] (specs/pin_ais 2.1 to 2.3).

Principal components are those of the covariance, by whichever symmetric matrix is smaller: pixels by pixels, summed
up chunk by chunk, or faces by faces (Sirovich and Kirby, 1987). Both are solved in float64, in descending order, and
checked to be orthonormal.
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
    """Gray faces (N, H * W) in [-1, 1] of RGB images (N, 3, H, W) in [0, 1]."""
    weights = torch.tensor(_LUMA, dtype=images.dtype, device=images.device)
    return torch.einsum("nchw,c->nhw", images, weights).flatten(1) * 2 - 1


def colour(faces: Tensor, like: Images) -> Images:
    """Gray faces (..., H * W) in [-1, 1] as three equal channels (..., 3, H, W) in [0, 1], not clipped (spec 2.3)."""
    height, width = like.shape[-2:]
    face = ((faces + 1) / 2).reshape(*faces.shape[:-1], 1, height, width)
    return face.expand(*faces.shape[:-1], 3, height, width)


@dataclass(frozen=True)
class Eigenspace:
    """mean (D,) and orthonormal basis (D, N) of gray faces in [-1, 1]."""

    identity = "subspace.eigenfaces"
    version = 1

    mean: Tensor
    basis: Tensor

    @classmethod
    def of(cls, artifact: Artifact, device: torch.device) -> Eigenspace:
        """From an artifact with the tensors ``mean`` and ``basis``."""
        return cls(artifact["mean"].to(device), artifact["basis"].to(device))

    def coefficients(self, faces: Tensor) -> Tensor:
        """``E^T (x - mean)`` (B, N) of gray faces (B, D)."""
        return (faces - self.mean) @ self.basis

    def faces(self, coefficients: Tensor) -> Tensor:
        """``mean + E a`` (..., D) of coefficients (..., N); for K masks at once (B, K, N), never a masked basis."""
        return self.mean + coefficients @ self.basis.T

    def project(self, images: Images) -> Images:
        """``mean + E E^T (x - mean)`` of gray faces, as three equal channels."""
        return colour(self.faces(self.coefficients(gray(images))), images)


@dataclass(frozen=True)
class Eigenfaces:
    """Recipe: mean (D,), basis (D, components) and eigenvalues (components,) in float32, of all images."""

    identity = "recipe.eigenfaces"
    version = 1

    components: int

    needs_recognizer = False

    def fit(self, context: FitContext) -> Artifact:
        """Raises FrbenchError: more components than faces or pixels."""
        faces = context.faces
        count, size = len(faces.images), faces.images.shape[1] * faces.images.shape[2]
        if not 0 < self.components <= min(count - 1, size):
            raise ConfigError(
                f"components={self.components}, expected 1 to {min(count - 1, size)} with the {count} faces of {size} "
                f"pixels that {faces.name} has: take fewer components or more faces"
            )
        solve = _by_pixels if size <= count else _by_faces
        mean, values, basis = solve(faces, self.components, context.device)
        _check(basis)
        tensors = {"mean": mean, "basis": basis, "eigenvalues": values / (count - 1)}
        return {name: torch.from_numpy(np.ascontiguousarray(each, dtype=np.float32)) for name, each in tensors.items()}


def chunks(faces: FaceSet, device: torch.device) -> Iterator[Tensor]:
    """All gray faces of a set, (up to 512, D) at a time, in [-1, 1], under a progress bar."""
    for first in over(range(0, len(faces.images), _CHUNK), "gray faces", "faces", _CHUNK):
        rows = np.arange(first, min(first + _CHUNK, len(faces.images)))
        yield gray(faces.load(rows, device))


Solved = tuple[np.ndarray, np.ndarray, np.ndarray]  # mean (D,), leading sums of squares (N,), vectors (D, N)


def _by_pixels(faces: FaceSet, components: int, device: torch.device) -> Solved:
    """By the pixels' covariance, summed up in float64 without ever holding the faces."""
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
    """By the faces' inner products, where there are fewer faces than pixels."""
    stack = torch.cat(list(chunks(faces, device)))
    mean = stack.mean(dim=0, dtype=torch.float64)
    stack -= mean.float()
    inner = torch.zeros(len(stack), len(stack), dtype=torch.float64, device=device)
    for part in stack.T.split(_CHUNK):
        inner.addmm_(part.T.double(), part.double())
    values, vectors = _leading(inner, components)
    basis = stack.T.double() @ torch.from_numpy(vectors.copy()).to(device)
    unit, _ = np.linalg.qr(basis.cpu().numpy())  # columns are orthogonal already: only their length changes
    return mean.cpu().numpy(), values, unit


def _leading(matrix: Tensor, components: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues of a symmetric matrix, descending, and their eigenvectors as columns."""
    side = len(matrix)
    wanted = (side - components, side - 1)
    values, vectors = eigh(matrix.cpu().numpy(), subset_by_index=wanted, overwrite_a=True, check_finite=False)
    return values[::-1], vectors[:, ::-1]


def _check(basis: np.ndarray) -> None:
    error = float(np.abs(basis.T @ basis - np.eye(basis.shape[1])).max())
    if error > 1e-4:
        raise FrbenchError(
            f"the PCA basis is not orthonormal (error {error:.1e}, expected below 1e-4): check the faces"
        )
