"""A small face recognition network for demonstrations and tests on any machine."""

from __future__ import annotations

from torch import Tensor, nn

from frbench.harness.core.domains import PositiveInt


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution, batch normalisation, PReLU."""
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.PReLU(outputs),
    ]


class _Residual(nn.Module):
    """Two 3x3 convolutions beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(width, width, 3), nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class TinyNet(nn.Module):
    """Images (N, 3, 112, 112) with values in [-1, 1] -> embeddings (N, dim), not of unit length.

    A 7x7 stem of stride 4 takes most of the pixels away at once; two more halvings follow, and a global
    depthwise convolution weighs each place of the face by itself, as in MobileFaceNet.
    """

    identity = "architecture.tiny"
    version = 1

    def __init__(self, width: PositiveInt = 24, dim: PositiveInt = 128) -> None:
        super().__init__()
        self.dim = dim
        wide, wider = 2 * width, 4 * width
        self.features = nn.Sequential(
            *_convolution(3, width, 7, 4),
            _Residual(width),
            *_convolution(width, wide, 3, 2),
            _Residual(wide),
            *_convolution(wide, wider, 3, 2),
            _Residual(wider),
        )
        self.pool = nn.Sequential(nn.Conv2d(wider, wider, 7, groups=wider, bias=False), nn.BatchNorm2d(wider))
        self.project = nn.Sequential(nn.Conv2d(wider, dim, 1, bias=False), nn.BatchNorm2d(dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.pool(self.features(x))).flatten(1)
