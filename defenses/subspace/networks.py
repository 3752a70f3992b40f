"""Networks that choose eigenvectors for a face: the encoder, the denoiser and the selection head of PIN and AIS.

Gray faces come as (N, 1, H, W) in [-1, 1], H and W multiples of 16. ``width`` 64 is the published size
(specs/pin_ais 3.1 and 4.1, after the authors' code); smaller ones keep the shape.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

Initial = Literal["he", "torch"]


def _conv(inside: int, outside: int, stride: int, normalised: bool) -> list[nn.Module]:
    """3x3 convolution without bias, batch normalisation where asked for, PReLU with a slope per channel."""
    layers: list[nn.Module] = [nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)]
    return [*layers, *([nn.BatchNorm2d(outside)] if normalised else []), nn.PReLU(outside)]


def _initialised(module: nn.Module, initial: Initial) -> None:
    """Initial weights of convolutions: PyTorch's own (``torch``, as the authors have it), or He et al.'s variance.

    With PyTorch's own, hardly anything of the image arrives behind this many layers without normalisation.
    """
    if initial == "torch":
        return
    for each in module.modules():
        if isinstance(each, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(each.weight, a=0.25)
    with torch.no_grad():
        for each in module.modules():
            if isinstance(each, EncoderBlock) and each.skip is not None:
                for branch in (each.body, each.skip):  # two of them are added: half the variance each
                    last = [layer for layer in branch if isinstance(layer, nn.Conv2d)][-1]
                    last.weight.mul_(0.5**0.5)


class EncoderBlock(nn.Module):
    """Two convolutions, the second with ``stride``; a 1x1 convolution of the input is added after the activation."""

    def __init__(self, inside: int, outside: int, stride: int, skip: bool = True, normalised: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_conv(inside, outside, 1, normalised),
            *_conv(outside, outside, stride, normalised),
        )
        shortcut: list[nn.Module] = [nn.Conv2d(inside, outside, 1, stride, bias=False)]
        self.skip = nn.Sequential(*shortcut, *([nn.BatchNorm2d(outside)] if normalised else [])) if skip else None

    def forward(self, features: Tensor) -> Tensor:
        out = self.body(features)
        return cast(Tensor, out if self.skip is None else out + self.skip(features))


class DecoderBlock(nn.Module):
    """A transposed convolution that doubles the side, and a convolution; the last block ends in tanh."""

    def __init__(self, inside: int, outside: int, last: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ConvTranspose2d(inside, inside, 3, stride=2, padding=1, output_padding=1, bias=False),
            nn.PReLU(inside),
            nn.Conv2d(inside, outside, 3, padding=1, bias=False),
            nn.Tanh() if last else nn.PReLU(outside),
        )

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.body(features))


class Encoder(nn.Module):
    """(N, 1, H, W) to (N, 8 * width, H / 16, W / 16). ``normalised``: with batch normalisation, as AIS has it.

    initial: weights that it starts from, see ``_initialised``.
    """

    def __init__(self, width: int = 64, normalised: bool = False, initial: Initial = "he") -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.PReLU(width))
        sides = [width, width, 2 * width, 4 * width, 8 * width]
        self.blocks = nn.Sequential(
            *(
                EncoderBlock(inside if stride == 2 else outside, outside, stride, normalised=normalised)
                for inside, outside in pairwise(sides)
                for stride in (2, 1)
            )
        )
        _initialised(self, initial)

    def forward(self, faces: Tensor) -> Tensor:
        return cast(Tensor, self.blocks(self.stem(faces)))


class Denoiser(nn.Module):
    """A denoising autoencoder run twice with the same weights: (N, 1, H, W) to both passes, in [-1, 1].

    initial: weights that it starts from, see ``_initialised``.
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
        _initialised(self, initial)

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        once = self.decoder(self.encoder(faces))
        return once, self.decoder(self.encoder(once))


class SelectionHead(nn.Module):
    """Features (N, C, H, W) to the logits (N, components) of keeping each eigenvector."""

    def __init__(self, features: int, hidden: int, components: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(features, hidden), nn.PReLU(hidden))
        self.choice = nn.Linear(hidden, components)

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.choice(self.hidden(features)))
