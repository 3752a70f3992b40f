"""A convolutional autoencoder trained on uncloaked photos alone, the baseline purifier of PuFace.

Its bottleneck is assumed to reconstruct photos but not cloaks, of which it sees none in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from frbench.defenses.cloak_removal.restoration import RestorationDefense
from frbench.defenses.components.artifact_tensors import trained_artifact
from frbench.harness.core.contracts import Artifact, FitContext
from frbench.harness.core.domains import NonEmpty, PositiveInt
from frbench.harness.core.face_data import Images
from frbench.harness.core.purifiers import Sides
from frbench.harness.training.loop import Schedule, train


def _stage(channels: Sequence[int]) -> nn.Sequential:
    """3x3 convolutions between consecutive ``channels``, with batch normalisation and ReLU."""
    layers = ((nn.Conv2d(i, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU()) for i, o in pairwise(channels))
    return nn.Sequential(*(layer for each in layers for layer in each))


class SegNet(nn.Module):
    """SegNet (Badrinarayanan, Kendall, Cipolla, PAMI 2017) from images (N, 3, H, W) to unbounded images.

    Max-unpooling in the decoder reuses the indices of the encoder's max-pooling.

    Args:
        widths: channels of each stage; every stage halves the resolution.
        convolutions: convolutions per stage.
    """

    def __init__(self, widths: Sequence[int], convolutions: int) -> None:
        super().__init__()
        stages = list(pairwise((3, *widths)))
        self.encoder = nn.ModuleList(_stage([i, *[o] * convolutions]) for i, o in stages)
        self.decoder = nn.ModuleList(_stage([*[o] * convolutions, max(i, widths[0])]) for i, o in reversed(stages))
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        self.last = nn.Conv2d(widths[0], 3, 3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        features, pooled = images, []
        for stage in self.encoder:
            features = stage(features)
            size = features.shape[2:]
            features, indices = self.pool(features)
            pooled.append((indices, size))
        for stage in self.decoder:
            indices, size = pooled.pop()
            features = stage(self.unpool(features, indices, list(size)))
        out: Tensor = self.last(features)
        return out


class _ReconstructionLearner(nn.Module):
    """``Learner`` of the mean squared reconstruction error."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        return mse_loss(self.network(images).float(), images), {}

    def after_step(self, steps: int) -> None:
        pass


@dataclass(frozen=True)
class AutoencoderRecipe:
    """Training of a ``SegNet`` on uncloaked photos; the published size is that of VGG.

    Attributes:
        widths: channels of each stage (published: 64, 128, 256, 512, 512).
        convolutions: convolutions per stage (published: 3).
        schedule: training schedule.
    """

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
        learner = _ReconstructionLearner(self.network())
        return trained_artifact(learner.network, train(learner, self.schedule, context, "autoencoder"))


@dataclass(frozen=True)
class AutoencoderDefense(RestorationDefense):
    """The autoencoder as a purifier."""

    identity = "defense.autoencoder"
    version = 1

    recipe: AutoencoderRecipe
    apply_to: Sides = "both"

    option: ClassVar[str] = "autoencoder"
