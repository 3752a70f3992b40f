"""Image quilting: a face put together from patches of other faces (Efros and Freeman, 2001; Guo et al., ICLR 2018).

As the authors of PIN and AIS had it (specs/pin_ais 6), nearest patch and overlaps averaged; but all of the image is
covered.
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
from frbench.harness.core.verifiers import Purifier, Sides

_DISTANCES = 2**24  # held at once: 64 MiB


def places(side: int, patch: int, stride: int) -> list[int]:
    """Where patches begin along a side: each ``stride``, and the last one at the border, so that all is covered."""
    found, last = [0], side - patch
    while found[-1] < last:
        found.append(last if last - found[-1] <= patch else found[-1] + stride)
    return found


def nearest(patches: Tensor, bank: Tensor) -> Tensor:
    """The row of ``bank`` (B, D) nearest in L2 to each of ``patches`` (M, D), both in [0, 1], in bounded memory."""
    wanted, known = patches - 0.5, bank - 0.5  # small numbers, for the sake of small rounding errors
    half = known.square().sum(dim=1) / 2
    chunks = wanted.split(max(1, _DISTANCES // len(bank)))
    return torch.cat([torch.addmm(half, each, known.T, alpha=-1).argmin(dim=1) for each in chunks])


@dataclass(frozen=True)
class Quilt:
    """Each patch of an image replaced by the nearest one of the bank; overlaps are averaged."""

    identity = "purifier.quilting"
    version = 1

    artifact: Fitted
    stride: int

    differentiable = False
    random = False

    def __call__(self, images: Images, index: Tensor, draw: Draw) -> Images:
        bank = self.artifact.tensors["patches"].to(images.device, torch.float32) / 255
        patch = bank.shape[-1]
        rows, columns = (torch.tensor(places(side, patch, self.stride)) for side in images.shape[2:])
        inside = torch.arange(patch)
        down, across = ((first[:, None] + inside).flatten().to(images.device) for first in (rows, columns))
        apart = images.index_select(2, down).index_select(3, across)
        grid = apart.unflatten(3, (len(columns), patch)).unflatten(2, (len(rows), patch)).permute(0, 2, 4, 1, 3, 5)
        chosen = bank[nearest(grid.flatten(0, 2).flatten(1), bank.flatten(1))]
        quilt = chosen.reshape(grid.shape).permute(0, 3, 1, 4, 2, 5).reshape(apart.shape)
        return _averaging(down) @ quilt @ _averaging(across).T


def _averaging(places: Tensor) -> Tensor:
    """(side, len(places)): the mean over all entries that belong to the same place, as a matrix."""
    one_hot = torch.nn.functional.one_hot(places).T.to(torch.float32)
    return one_hot / one_hot.sum(dim=1, keepdim=True)


@dataclass(frozen=True)
class QuiltingDefense(FittedPurifierDefense):
    """``bank`` patches of ``patch`` pixels a side from ``faces``, laid each ``stride`` pixels.

    sigma: of the Gaussian that the stand-in ``blur`` shows backward, in pixels.
    """

    identity = "defense.quilting"
    version = 1

    faces: FaceSource = field(compare=False)  # known by the digest of what it opens to, not by its paths
    bank: PositiveInt = 20000
    patch: CropPixels = 11
    stride: CropPixels = 9
    sigma: BlurSigma = 2.0
    purify: Sides = "both"
    artifact: Fitted | None = field(default=None, repr=False)

    option: ClassVar[str] = "quilting"

    def check_combination(self, where: str) -> None:
        if self.stride > self.patch:
            raise ConfigError(
                f"{where}.stride={self.stride} is above {where}.patch={self.patch}: pixels between patches would be "
                "covered by none"
            )

    @property
    def recipe(self) -> PatchBank:
        return PatchBank(self.bank, self.patch)

    def purifier(self) -> Quilt:
        return Quilt(self.ready, self.stride)

    def stand_ins(self) -> Mapping[str, Purifier]:
        quilt = self.purifier()
        return {"identity": StraightThrough(quilt), "blur": StraightThrough(quilt, Blur(self.sigma))}
