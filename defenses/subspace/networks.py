"""Encoder, denoiser and selection head of PIN and AIS, after the authors' code.

Inputs are gray faces (N, 1, H, W) in [-1, 1] with H and W multiples of 16. The published ``width`` is 64.

The method: docs/methods/subspace_projections.md.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

Initial = Literal["he", "torch"]


def _conv(in_channels: int, out_channels: int, stride: int, normalised: bool) -> list[nn.Module]:
    """3x3 convolution without bias, optional batch normalisation, PReLU with a slope per channel."""
    layers: list[nn.Module] = [nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)]
    return [*layers, *([nn.BatchNorm2d(out_channels)] if normalised else []), nn.PReLU(out_channels)]


def _initialise(module: nn.Module, initial: Initial) -> None:
    """Initialise convolutions by He et al. (2015), or keep PyTorch's initial weights (``torch``, as the authors do).

    With PyTorch's initial weights the signal nearly vanishes in this many layers without normalisation.
    """
    if initial == "torch":
        return
    for each in module.modules():
        if isinstance(each, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(each.weight, a=0.25)
    with torch.no_grad():
        for each in module.modules():
            if isinstance(each, EncoderBlock) and each.skip is not None:
                for branch in (each.body, each.skip):  # half the variance each, since the two are added
                    last = [layer for layer in branch if isinstance(layer, nn.Conv2d)][-1]
                    last.weight.mul_(0.5**0.5)


class EncoderBlock(nn.Module):
    """Two convolutions, the second with ``stride``, plus a 1x1 convolution of the input after the activation."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, skip: bool = True, normalised: bool = False
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_conv(in_channels, out_channels, 1, normalised),
            *_conv(out_channels, out_channels, stride, normalised),
        )
        shortcut: list[nn.Module] = [nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)]
        self.skip = nn.Sequential(*shortcut, *([nn.BatchNorm2d(out_channels)] if normalised else [])) if skip else None

    def forward(self, features: Tensor) -> Tensor:
        out = self.body(features)
        return cast(Tensor, out if self.skip is None else out + self.skip(features))


class DecoderBlock(nn.Module):
    """A transposed convolution that doubles the resolution and a convolution; the last block ends in tanh."""

    def __init__(self, in_channels: int, out_channels: int, last: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ConvTranspose2d(in_channels, in_channels, 3, stride=2, padding=1, output_padding=1, bias=False),
            nn.PReLU(in_channels),
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.Tanh() if last else nn.PReLU(out_channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.body(features))


class Encoder(nn.Module):
    """Encoder from (N, 1, H, W) to (N, 8 * width, H / 16, W / 16).

    Args:
        width: channels of the first stage.
        normalised: whether to use batch normalisation, as AIS does and PIN does not.
        initial: initial weights, ``he`` (He et al., 2015) or ``torch`` (PyTorch's own).
    """

    def __init__(self, width: int = 64, normalised: bool = False, initial: Initial = "he") -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.PReLU(width))
        sides = [width, width, 2 * width, 4 * width, 8 * width]
        self.blocks = nn.Sequential(
            *(
                EncoderBlock(in_channels if stride == 2 else out_channels, out_channels, stride, normalised=normalised)
                for in_channels, out_channels in pairwise(sides)
                for stride in (2, 1)
            )
        )
        _initialise(self, initial)

    def forward(self, faces: Tensor) -> Tensor:
        return cast(Tensor, self.blocks(self.stem(faces)))


class Denoiser(nn.Module):
    """Denoising autoencoder applied twice with shared weights: (N, 1, H, W) to the outputs of both passes in [-1, 1].

    Args:
        width: channels of the first stage.
        initial: initial weights, ``he`` (He et al., 2015) or ``torch`` (PyTorch's own).
    """

    def __init__(self, width: int = 64, initial: Initial = "he") -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            EncoderBlock(1, width, 2, skip=False),
            EncoderBlock(width, 2 * width, 2, skip=False),
            EncoderBlock(2 * width, 4 * width, 2, skip=False),
        )
        self.decoder = nn.Sequential(
            DecoderBlock(4 * width, 2 * width),
            DecoderBlock(2 * width, width),
            DecoderBlock(width, 1, last=True),
        )
        _initialise(self, initial)

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        first = self.decoder(self.encoder(faces))
        return first, self.decoder(self.encoder(first))


class SelectionHead(nn.Module):
    """Head from features (N, C, H, W) to keep logits (N, components) of the eigenfaces."""

    def __init__(self, features: int, hidden: int, components: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(features, hidden), nn.PReLU(hidden))
        self.choice = nn.Linear(hidden, components)

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.choice(self.hidden(features)))


class PinNetwork(nn.Module):
    """Selector of PIN: frozen denoiser, encoder and head, from gray faces (N, 1, H, W) to logits (N, components)."""

    def __init__(
        self,
        width: int,
        hidden: int,
        denoiser_width: int,
        components: int,
        side: int = 112,
        initial: Initial = "he",
    ) -> None:
        super().__init__()
        self.denoiser = Denoiser(denoiser_width).requires_grad_(False)
        self.encoder = Encoder(width, initial=initial)
        self.head = SelectionHead(8 * width * (side // 16) ** 2, hidden, components)

    def forward(self, faces: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.encoder(self.denoiser(faces)[1])))
