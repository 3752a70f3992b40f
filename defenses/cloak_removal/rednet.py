"""RED-Net (Mao, Shen, Yang, NeurIPS 2016) as PuFace's development code has it: convolutions at half the size between a
strided first and a strided last layer, symmetric skips, and the image itself added last (specs/cloaks_puface 5.3).
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn.functional import relu


class RedNet(nn.Module):
    """Images (N, 3, H, W) of even sides in [0, 1] to images of the same shape, not negative and not bounded above.

    layers: convolutions and deconvolutions together, an even number; 30 of 64 ``channels`` are RED-Net-30.

    What ``conv_j`` gives is added to what ``deconv_(depth - j)`` gives, for every even j below the depth. The last
    layer begins as zero, so that an untrained network leaves images as they are; the others as suits ReLU
    (He et al., 2015).
    """

    def __init__(self, layers: int = 30, channels: int = 64) -> None:
        super().__init__()
        self.depth = layers // 2
        inside = range(self.depth - 1)
        self.encoder = nn.ModuleList(
            [nn.Conv2d(3, channels, 3, 2, 1), *(nn.Conv2d(channels, channels, 3, 1, 1) for _ in inside)]
        )
        self.decoder = nn.ModuleList(
            [
                *(nn.ConvTranspose2d(channels, channels, 3, 1, 1) for _ in inside),
                nn.ConvTranspose2d(channels, 3, 3, 2, 1, output_padding=1),
            ]
        )
        self._begin()

    def _begin(self) -> None:
        for layer in (*self.encoder, *self.decoder):
            nn.init.kaiming_normal_(cast(Tensor, layer.weight), nonlinearity="relu")
            nn.init.zeros_(cast(Tensor, layer.bias))
        nn.init.zeros_(cast(Tensor, self.decoder[-1].weight))

    def forward(self, images: Tensor) -> Tensor:
        kept: dict[int, Tensor] = {}
        features = images
        for number, layer in enumerate(self.encoder, start=1):
            features = relu(layer(features))
            if number % 2 == 0 and number < self.depth:
                kept[self.depth - number] = features
        for number, layer in enumerate(self.decoder[:-1], start=1):
            features = relu(layer(features))
            if number in kept:
                features = relu(features + kept.pop(number))
        return relu(self.decoder[-1](features) + images)
