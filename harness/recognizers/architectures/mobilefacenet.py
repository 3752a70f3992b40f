"""MobileFaceNet (arXiv 1804.07573) with the parameter names of two published checkpoints.

Both have the paper's table of stages for 112x112 input (docs/methods/ensembles.md); they differ in the activations, in
the names, and in the bias of the last convolution.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from frbench.harness.core.domains import Positive, PositiveInt

# (channels, expanded channels, stride) of each bottleneck after the 64-channel stem.
BOTTLENECKS = (
    ((64, 128, 2),)
    + ((64, 128, 1),) * 4
    + ((128, 256, 2),)
    + ((128, 256, 1),) * 6
    + ((128, 512, 2),)
    + ((128, 256, 1),) * 2
)


def _convolution(inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Without bias, padded to keep the size (7x7, the global one, shrinks to 1x1)."""
    return nn.Conv2d(
        inside, outside, kernel, stride, padding=kernel // 2 if kernel < 7 else 0, groups=groups, bias=False
    )


class Relu6Bottleneck(nn.Module):
    """Expand, depthwise, project; ReLU6 after the first two. Names: ``conv.0.0``, ``conv.0.1``, …, ``conv.3``."""

    def __init__(self, inside: int, outside: int, expanded: int, stride: int) -> None:
        super().__init__()
        self.residual = stride == 1 and inside == outside
        self.conv = nn.Sequential(
            _relu6_unit(inside, expanded, 1),
            _relu6_unit(expanded, expanded, 3, stride, groups=expanded),
            _convolution(expanded, outside, 1),
            nn.BatchNorm2d(outside),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


def _relu6_unit(inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(_convolution(inside, outside, kernel, stride, groups), nn.BatchNorm2d(outside), nn.ReLU6())


class SeparableStem(nn.Module):
    """Depthwise 3x3 and pointwise 1x1, each with batch normalisation and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = _convolution(channels, channels, 3, groups=channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.pointwise = _convolution(channels, channels, 1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.depthwise(x)))
        return self.relu(self.bn2(self.pointwise(x)))


class MobileFaceNet(nn.Module):
    """The ReLU6 variant with the names of github foamliu/MobileFaceNet. (N, 3, 112, 112) -> (N, embedding).

    width: times the published channels, each rounded to a multiple of 8.
    """

    identity = "architecture.mobilefacenet"
    version = 1

    def __init__(self, embedding: PositiveInt = 128, width: Positive = 1.0) -> None:
        super().__init__()
        stem, last, wide = (_scaled(channels, width) for channels in (64, 128, 512))
        self.conv1 = _relu6_unit(3, stem, 3, stride=2)
        self.dw_conv = SeparableStem(stem)
        stages = [
            (_scaled(outside, width), _scaled(expanded, width), stride) for outside, expanded, stride in BOTTLENECKS
        ]
        widths = (stem, *(outside for outside, _, _ in stages))
        self.features = nn.Sequential(
            *(
                Relu6Bottleneck(inside, outside, expanded, stride)
                for inside, (outside, expanded, stride) in zip(widths, stages, strict=False)
            )
        )
        self.conv2 = _relu6_unit(last, wide, 1)
        self.gdconv = nn.Sequential(
            OrderedDict(depthwise=_convolution(wide, wide, 7, groups=wide), bn=nn.BatchNorm2d(wide))
        )
        self.conv3 = nn.Conv2d(wide, embedding, 1)
        self.bn = nn.BatchNorm2d(embedding)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(self.dw_conv(self.conv1(x)))
        return self.bn(self.conv3(self.gdconv(self.conv2(x)))).flatten(1)


def _scaled(channels: int, width: float) -> int:
    return max(8, 8 * round(channels * width / 8))


def _prelu_unit(inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=_convolution(inside, outside, kernel, stride, groups),
            bn=nn.BatchNorm2d(outside),
            prelu=nn.PReLU(outside),
        )
    )


class PreluBottleneck(nn.Module):
    """Expand, depthwise, project; PReLU after the first two. Names: ``conv``, ``conv_dw``, ``project``."""

    def __init__(self, inside: int, outside: int, expanded: int, stride: int) -> None:
        super().__init__()
        self.residual = stride == 1 and inside == outside
        self.conv = _prelu_unit(inside, expanded, 1)
        self.conv_dw = _prelu_unit(expanded, expanded, 3, stride, groups=expanded)
        self.project = nn.Sequential(OrderedDict(conv=_convolution(expanded, outside, 1), bn=nn.BatchNorm2d(outside)))

    def forward(self, x: Tensor) -> Tensor:
        change = self.project(self.conv_dw(self.conv(x)))
        return x + change if self.residual else change


class Repeated(nn.Module):
    """``count`` residual bottlenecks under the name ``model``."""

    def __init__(self, channels: int, expanded: int, count: int) -> None:
        super().__init__()
        self.model = nn.Sequential(*(PreluBottleneck(channels, channels, expanded, 1) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class PreluMobileFaceNet(nn.Module):
    """The PReLU variant with the names of github bubbliiiing/arcface-pytorch. (N, 3, 112, 112) -> (N, embedding)."""

    identity = "architecture.prelu_mobilefacenet"
    version = 1

    def __init__(self, embedding: PositiveInt = 128) -> None:
        super().__init__()
        self.conv1 = _prelu_unit(3, 64, 3, stride=2)
        self.conv2_dw = _prelu_unit(64, 64, 3, groups=64)
        self.conv_23 = PreluBottleneck(64, 64, 128, 2)
        self.conv_3 = Repeated(64, 128, 4)
        self.conv_34 = PreluBottleneck(64, 128, 256, 2)
        self.conv_4 = Repeated(128, 256, 6)
        self.conv_45 = PreluBottleneck(128, 128, 512, 2)
        self.conv_5 = Repeated(128, 256, 2)
        self.sep = _convolution(128, 512, 1)
        self.sep_bn = nn.BatchNorm2d(512)
        self.prelu = nn.PReLU(512)
        self.GDC_dw = _convolution(512, 512, 7, groups=512)
        self.GDC_bn = nn.BatchNorm2d(512)
        self.features = _convolution(512, embedding, 1)
        self.last_bn = nn.BatchNorm2d(embedding)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_34(self.conv_3(self.conv_23(self.conv2_dw(self.conv1(x)))))
        x = self.conv_5(self.conv_45(self.conv_4(x)))
        x = self.prelu(self.sep_bn(self.sep(x)))
        return self.last_bn(self.features(self.GDC_bn(self.GDC_dw(x)))).flatten(1)
