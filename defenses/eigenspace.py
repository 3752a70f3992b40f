"""The PCA substrate: a mean face and leading eigenfaces of gray faces in [-1, 1] (specs/pin_ais 2.1 to 2.3).

Principal components are those of the covariance, by whichever symmetric matrix is smaller: pixels by pixels, or faces
by faces (Sirovich and Kirby, 1987). Both are solved in float64, in descending order, and checked to be orthonormal.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor

from frbench.harness.contracts import Artifact, FaceSet, Images
from frbench.harness.errors import FrbenchError

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, as Pillow's "L"
_CHUNK = 512


def gray(images: Images) -> Tensor:
    """Gray faces (N, H * W) in [-1, 1] of RGB images (N, 3, H, W) in [0, 1]."""
    weights = torch.tensor(_LUMA, dtype=images.dtype, device=images.device)
    return torch.einsum("nchw,c->nhw", images, weights).flatten(1) * 2 - 1


def project(images: Images, mean: Tensor, basis: Tensor) -> Images:
    """``mean + E E^T (x - mean)`` of gray faces, as three equal channels in [0, 1] and not clipped (spec 2.3)."""
    flat = gray(images) - mean
    face = (mean + (flat @ basis) @ basis.T + 1) / 2
    return face.reshape(-1, 1, *images.shape[2:]).expand(-1, 3, -1, -1)


def fit(faces: FaceSet, components: int, device: torch.device) -> Artifact:
    """Mean (D,) and basis (D, components) in float32, and the eigenvalues kept, of all images of ``faces``."""
    count, size = len(faces.images), faces.images.shape[1] * faces.images.shape[2]
    if components > min(count - 1, size):
        raise FrbenchError(
            f"defense.components={components} needs more than {components} faces of {size} pixels; "
            f"{faces.name} has {count}: take fewer components or more faces"
        )
    stack = np.empty((count, size), dtype=np.float32)
    for first in range(0, count, _CHUNK):
        rows = np.arange(first, min(first + _CHUNK, count))
        stack[rows] = gray(faces.load(rows, device)).cpu().numpy()
    mean = stack.mean(axis=0, dtype=np.float64)
    stack -= mean.astype(np.float32)
    values, basis = _leading(stack, components)
    _check(basis)
    tensors = {"mean": mean, "basis": basis, "eigenvalues": values}
    return {name: torch.from_numpy(np.ascontiguousarray(each, dtype=np.float32)) for name, each in tensors.items()}


def _leading(stack: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest eigenvalues of the covariance, descending, and their eigenvectors (D, components)."""
    count, size = stack.shape
    smaller = stack.T if size <= count else stack
    gram = np.zeros((len(smaller), len(smaller)))
    for first in range(0, smaller.shape[1], _CHUNK):
        part = smaller[:, first : first + _CHUNK].astype(np.float64)
        gram += part @ part.T
    side = len(gram)
    values, vectors = eigh(gram, subset_by_index=(side - components, side - 1), overwrite_a=True, check_finite=False)
    values, vectors = values[::-1], vectors[:, ::-1]
    if size > count:
        vectors, _ = np.linalg.qr(stack.T.astype(np.float64) @ vectors)  # columns are orthogonal already: unit length
    return values / (count - 1), vectors


def _check(basis: np.ndarray) -> None:
    error = float(np.abs(basis.T @ basis - np.eye(basis.shape[1])).max())
    if error > 1e-4:
        raise FrbenchError(
            f"the PCA basis is not orthonormal (error {error:.1e}, expected below 1e-4): check the faces"
        )
