"""A convolutional autoencoder that learns to give natural photos back: the plain rival of PuFace (specs/cloaks_puface
5.6). It has seen no cloak, and hopes that none passes through it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from frbench.defenses.components.artifact_keys import named
from frbench.harness.core.contracts import Artifact, FitContext
from frbench.harness.core.domains import NonEmpty, PositiveInt
from frbench.harness.core.face_data import Images
from frbench.harness.training.loop import Schedule, train


def _stage(channels: Sequence[int]) -> nn.Sequential:
    """3x3 convolutions from each of ``channels`` to the next, with batch normalisation and ReLU."""
    layers = ((nn.Conv2d(i, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU()) for i, o in pairwise(channels))
    return nn.Sequential(*(layer for each in layers for layer in each))


class SegNet(nn.Module):
    """Images (N, 3, H, W) to images, not bounded, through as many halvings as there are ``widths``.

    A maximum goes back to where it was taken from (Badrinarayanan, Kendall, Cipolla, PAMI 2017). ``convolutions`` of
    each stage, in the encoder and in the decoder.
    """

    def __init__(self, widths: Sequence[int], convolutions: int) -> None:
        super().__init__()
        stages = list(pairwise((3, *widths)))
        self.encoder = nn.ModuleList(_stage([i, *[o] * convolutions]) for i, o in stages)
        self.decoder = nn.ModuleList(_stage([*[o] * convolutions, max(i, widths[0])]) for i, o in reversed(stages))
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        self.last = nn.Conv2d(widths[0], 3, 3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        features, places = images, []
        for stage in self.encoder:
            features = stage(features)
            size = features.shape[2:]
            features, where = self.pool(features)
            places.append((where, size))
        for stage in self.decoder:
            where, size = places.pop()
            features = stage(self.unpool(features, where, list(size)))
        out: Tensor = self.last(features)
        return out


class _Reproducing(nn.Module):
    """A ``Learner`` of the mean squared error."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        return mse_loss(self.network(images).float(), images), {}

    def stepped(self, steps: int) -> None:
        pass


@dataclass(frozen=True)
class AutoencoderRecipe:
    """A ``SegNet`` of natural photos alone; VGG's (five stages of 64 to 512 channels) is the published size."""

    identity = "recipe.autoencoder"
    version = 1

    widths: Annotated[Sequence[PositiveInt], NonEmpty]
    convolutions: PositiveInt
    schedule: Schedule

    needs_recognizer = False

    def network(self) -> SegNet:
        return SegNet(self.widths, self.convolutions)

    def fit(self, context: FitContext) -> Artifact:
        torch.manual_seed(context.seed)
        learner = _Reproducing(self.network())
        history = train(learner, self.schedule, context, "autoencoder")
        return named("network", learner.network.state_dict()) | named("history", history)
