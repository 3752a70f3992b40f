"""Inception-ResNet-v1 (Szegedy et al., 2016, arXiv 1602.07261), the network of FaceNet, for 160x160 images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Branch = list[tuple[int, int | tuple[int, int], int, int | tuple[int, int]]]  # (width, kernel, stride, padding) in turn


class Convolution(nn.Sequential):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, inside: int, outside: int, kernel, stride: int = 1, padding=0) -> None:
        conv = nn.Conv2d(inside, outside, kernel, stride, padding, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outside, eps=1e-3), nn.ReLU())


def chain(inside: int, branch: Branch) -> nn.Sequential:
    widths = [inside, *(entry[0] for entry in branch)]
    return nn.Sequential(*(Convolution(wide, *entry) for wide, entry in zip(widths, branch, strict=False)))


class Residual(nn.Module):
    """Branches side by side, brought back to the input's width, scaled down and added to it."""

    def __init__(self, inside: int, branches: list[Branch], scale: float, last: bool = False) -> None:
        super().__init__()
        self.branches = nn.ModuleList(chain(inside, branch) for branch in branches)
        self.project = nn.Conv2d(sum(branch[-1][0] for branch in branches), inside, 1)
        self.scale, self.last = scale, last

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.scale * self.project(torch.cat([branch(x) for branch in self.branches], 1))
        return x if self.last else torch.relu(x)


class Reduction(nn.Module):
    """Branches of stride 2 beside a maximum pooling."""

    def __init__(self, inside: int, branches: list[Branch]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(chain(inside, branch) for branch in branches)
        self.pool = nn.MaxPool2d(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*(branch(x) for branch in self.branches), self.pool(x)], 1)


def one(width: int) -> tuple[int, int, int, int]:
    return width, 1, 1, 0


def same(width: int, *kernel: int) -> tuple:
    kernel = kernel or (3, 3)
    return width, kernel, 1, tuple(side // 2 for side in kernel)


def half(width: int) -> tuple[int, int, int, int]:
    return width, 3, 2, 0


class InceptionResnetV1(nn.Module):
    """(N, 3, 160, 160) -> (N, 512). ``repeats``: blocks at 35x35, 17x17 and 8x8 of the paper, 5, 10 and 5 there."""

    def __init__(self, repeats: tuple[int, int, int] = (5, 10, 5)) -> None:
        super().__init__()
        at35 = [[one(32)], [one(32), same(32)], [one(32), same(32), same(32)]]
        at17 = [[one(128)], [one(128), same(128, 1, 7), same(128, 7, 1)]]
        at8 = [[one(192)], [one(192), same(192, 1, 3), same(192, 3, 1)]]
        self.layers = nn.Sequential(
            chain(3, [half(32), (32, 3, 1, 0), same(64)]),
            nn.MaxPool2d(3, 2),
            chain(64, [one(80), (192, 3, 1, 0), half(256)]),
            *(Residual(256, at35, 0.17) for _ in range(repeats[0])),
            Reduction(256, [[half(384)], [one(192), same(192), half(256)]]),
            *(Residual(896, at17, 0.10) for _ in range(repeats[1])),
            Reduction(896, [[one(256), half(384)], [one(256), half(256)], [one(256), same(256), half(256)]]),
            *(Residual(1792, at8, 0.20) for _ in range(repeats[2])),
            Residual(1792, at8, 1.0, last=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Dropout(0.6),
            nn.Flatten(),
            nn.Linear(1792, 512, bias=False),
            nn.BatchNorm1d(512, eps=1e-3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
