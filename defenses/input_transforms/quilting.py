"""Image quilting: each patch of a face is replaced by the nearest patch of other faces.

Efros and Freeman, SIGGRAPH 2001; as a defense: Guo et al., ICLR 2018, section 4.4. Like the code of PIN and AIS it
takes the nearest patch and averages overlaps instead of cutting along a minimum-error boundary; unlike theirs it covers
the whole image.

The method: docs/methods/input_transforms.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from frbench.defenses.components.purifier import FittedPurifierDefense, StraightThrough
from frbench.defenses.input_transforms.blur import Blur
from frbench.defenses.input_transforms.patch_bank import PatchBank
from frbench.harness.core.contracts import Draw, Fitted, Images
from frbench.harness.core.domains import BlurSigma, CropPixels, PositiveInt
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import FaceSource
from frbench.harness.core.purifiers import Purifier, Sides

_DISTANCES = 2**24  # computed at once: 64 MiB


def patch_offsets(side: int, patch: int, stride: int) -> list[int]:
    """First pixels of the patches along a side: every ``stride``, the last one flush with the border."""
    offsets, last = [0], side - patch
    while offsets[-1] < last:
        offsets.append(last if last - offsets[-1] <= patch else offsets[-1] + stride)
    return offsets


def nearest(patches: Tensor, bank: Tensor) -> Tensor:
    """Index (M,) of the row of ``bank`` (B, D) nearest in L2 to each of ``patches`` (M, D), in bounded memory."""
    queries, keys = patches - 0.5, bank - 0.5  # centred values in [0, 1] have smaller rounding errors
    half = keys.square().sum(dim=1) / 2
    chunks = queries.split(max(1, _DISTANCES // len(bank)))
    return torch.cat([torch.addmm(half, chunk, keys.T, alpha=-1).argmin(dim=1) for chunk in chunks])


@dataclass(frozen=True)
class Quilt:
    """Replace each patch of an image by the nearest patch of the bank and average overlaps."""

    identity = "purifier.quilting"
    version = 1

    artifact: Fitted
    stride: int

    differentiable = False
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        bank = self.artifact.tensors["patches"].to(images.device, torch.float32) / 255
        patch = bank.shape[-1]
        rows, columns = (torch.tensor(patch_offsets(side, patch, self.stride)) for side in images.shape[2:])
        inside = torch.arange(patch)
        down, across = ((first[:, None] + inside).flatten().to(images.device) for first in (rows, columns))
        unfolded = images.index_select(2, down).index_select(3, across)
        grid = unfolded.unflatten(3, (len(columns), patch)).unflatten(2, (len(rows), patch)).permute(0, 2, 4, 1, 3, 5)
        chosen = bank[nearest(grid.flatten(0, 2).flatten(1), bank.flatten(1))]
        quilt = chosen.reshape(grid.shape).permute(0, 3, 1, 4, 2, 5).reshape(unfolded.shape)
        return _averaging(down) @ quilt @ _averaging(across).T


def _averaging(positions: Tensor) -> Tensor:
    """Matrix (side, len(positions)) that averages all entries of the same position."""
    one_hot = torch.nn.functional.one_hot(positions).T.to(torch.float32)
    return one_hot / one_hot.sum(dim=1, keepdim=True)


@dataclass(frozen=True)
class QuiltingDefense(FittedPurifierDefense):
    """Image quilting with patches of ``faces``.

    Attributes:
        num_patches: number of patches to choose from.
        patch_size: side of a patch in pixels.
        stride: distance of neighbouring patches in pixels, at most ``patch_size``.
        sigma: standard deviation in pixels of the Gaussian blur whose gradient the relaxation ``blur`` uses.
    """

    identity = "defense.quilting"
    version = 1

    faces: FaceSource = field(compare=False)  # identified by the digest of its images, not by paths
    num_patches: PositiveInt = 20000
    patch_size: CropPixels = 11
    stride: CropPixels = 9
    sigma: BlurSigma = 2.0
    apply_to: Sides = "both"
    artifact: Fitted | None = field(default=None, repr=False)

    option: ClassVar[str] = "quilting"

    def check_combination(self, where: str) -> None:
        if self.stride > self.patch_size:
            raise ConfigError(
                f"{where}.stride={self.stride} is above {where}.patch_size={self.patch_size} and leaves gaps; "
                f"set {where}.stride to at most {self.patch_size}"
            )

    @property
    def recipe(self) -> PatchBank:
        return PatchBank(self.num_patches, self.patch_size)

    def purifier(self) -> Quilt:
        return Quilt(self.ready, self.stride)

    def differentiable_purifiers(self) -> Mapping[str, Purifier]:
        quilt = self.purifier()
        return {"identity": StraightThrough(quilt), "blur": StraightThrough(quilt, Blur(self.sigma))}
