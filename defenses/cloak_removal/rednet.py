"""RED-Net (Mao, Shen, Yang, NeurIPS 2016), the network of PuFace's purifier.

Following PuFace's development code (joy8023/face), the first and the last layer have stride 2, so that all others run
at half the resolution.

The method: docs/methods/puface.md.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn.functional import relu


class RedNet(nn.Module):
    """Residual encoder-decoder from images (N, 3, H, W) in [0, 1] with even sides to non-negative images.

    A skip connection adds the output of convolution j to that of deconvolution ``depth - j`` for every even j below the
    depth, and the input is added to the output. The last layer starts at zero, so that the initial network is the
    identity; the others are initialised by He et al. (2015).

    Args:
        layers: number of convolutions and deconvolutions together, even; 30 is RED-Net-30.
        channels: channels of the hidden layers.
    """

    def __init__(self, layers: int = 30, channels: int = 64) -> None:
        super().__init__()
        self.depth = layers // 2
        hidden = range(self.depth - 1)
        self.encoder = nn.ModuleList(
            [nn.Conv2d(3, channels, 3, 2, 1), *(nn.Conv2d(channels, channels, 3, 1, 1) for _ in hidden)]
        )
        self.decoder = nn.ModuleList(
            [
                *(nn.ConvTranspose2d(channels, channels, 3, 1, 1) for _ in hidden),
                nn.ConvTranspose2d(channels, 3, 3, 2, 1, output_padding=1),
            ]
        )
        self._initialise()

    def _initialise(self) -> None:
        for layer in (*self.encoder, *self.decoder):
            nn.init.kaiming_normal_(cast(Tensor, layer.weight), nonlinearity="relu")
            nn.init.zeros_(cast(Tensor, layer.bias))
        nn.init.zeros_(cast(Tensor, self.decoder[-1].weight))

    def forward(self, images: Tensor) -> Tensor:
        skips: dict[int, Tensor] = {}
        features = images
        for number, layer in enumerate(self.encoder, start=1):
            features = relu(layer(features))
            if number % 2 == 0 and number < self.depth:
                skips[self.depth - number] = features
        for number, layer in enumerate(self.decoder[:-1], start=1):
            features = relu(layer(features))
            if number in skips:
                features = relu(features + skips.pop(number))
        return relu(self.decoder[-1](features) + images)
