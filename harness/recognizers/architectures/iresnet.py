"""IResNet (arXiv 2004.04989 as used by ArcFace, 1801.07698), named as in InsightFace's arcface_torch checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Len
from torch import Tensor, nn

from frbench.harness.core.domains import PositiveInt

WIDTHS = (64, 128, 256, 512)


class IBasicBlock(nn.Module):
    """Normalise, convolve, PReLU, convolve with stride, added to the (where necessary convolved) input."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.prelu = nn.PReLU(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outside)
        self.downsample: nn.Module | None = None
        if stride != 1 or inside != outside:
            self.downsample = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        change = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return change + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    """(N, 3, 112, 112) -> (N, embedding). ``blocks``: how many in each of the four stages.

    IResNet-18 has (2, 2, 2, 2), -34 (3, 4, 6, 3), -50 (3, 4, 14, 3), -100 (3, 13, 30, 3).
    """

    identity = "architecture.iresnet"
    version = 1

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(self, blocks: Annotated[Sequence[PositiveInt], Len(4, 4)], embedding: PositiveInt = 512) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.prelu = nn.PReLU(WIDTHS[0])
        inside = WIDTHS[0]
        for stage, (count, outside) in enumerate(zip(blocks, WIDTHS, strict=True), start=1):
            rest = (IBasicBlock(outside, outside, 1) for _ in range(count - 1))
            self.add_module(f"layer{stage}", nn.Sequential(IBasicBlock(inside, outside, 2), *rest))
            inside = outside
        self.bn2 = nn.BatchNorm2d(inside)
        self.dropout = nn.Dropout(0.0)
        self.fc = nn.Linear(inside * 7 * 7, embedding)
        self.features = nn.BatchNorm1d(embedding)

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.features(self.fc(self.dropout(self.bn2(x).flatten(1))))
