"""Training objective of PuFace: the distance of purified photos from the uncloaked ones, in pixels and in features.

After the development code of PuFace (joy8023/face).

The method: docs/methods/puface.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from frbench.defenses.cloak_removal.amplification import Amplification, amplify
from frbench.defenses.cloak_removal.rednet import RedNet
from frbench.harness.core.contracts import Recognizer
from frbench.harness.core.face_data import FaceSet, Images

_CHUNK = 64  # photos embedded or validated at a time
_REFERENCE_DIM = 512  # embedding dimension at which the published weight of the feature loss holds


@dataclass(frozen=True)
class Photos:
    """M photos with their cloaks and features.

    Attributes:
        faces: the uncloaked photos.
        cloaked: their cloaked versions, uint8 (M, H, W, 3).
        embeddings: embeddings (2, M, D) of the uncloaked photos and their mirror images; D is 0 without a feature loss.
    """

    identity = "recipe.puface_photos"
    version = 1

    faces: FaceSet
    cloaked: Tensor
    embeddings: Tensor

    @classmethod
    def of(cls, faces: FaceSet, cloaked: Tensor, recognizer: Recognizer | None, device: torch.device) -> Photos:
        """Embed the uncloaked photos by ``recognizer``."""
        embeddings: list[list[Tensor]] = [[], []]
        with torch.no_grad():
            for rows in _chunks(len(cloaked)):
                images = faces.load(rows, device)
                for parts, each in zip(embeddings, (images, images.flip(3)), strict=True):
                    parts.append(images.new_zeros(len(rows), 0) if recognizer is None else recognizer.embed(each))
        return cls(faces, cloaked.to(device), torch.stack([torch.cat(parts) for parts in embeddings]))

    def deltas(self, clean: Images, rows: Tensor) -> Tensor:
        """Perturbations of the cloaks of ``rows`` relative to their ``clean`` photos."""
        return self.cloaked[rows].permute(0, 3, 1, 2).to(clean.dtype) / 255 - clean


def _chunks(count: int) -> Iterator[np.ndarray]:
    return (np.arange(first, min(first + _CHUNK, count)) for first in range(0, count, _CHUNK))


@dataclass(frozen=True)
class PurificationLoss:
    """Root mean squared error of pixels plus ``weight`` times the mean absolute error of embeddings by ``features``.

    The weight is scaled by the square root of D / 512 for embeddings of dimension D, whose coordinates scale inversely.
    """

    identity = "recipe.puface_features"
    version = 1

    features: Recognizer | None = None
    weight: float = 0.0

    def __call__(self, purified: Images, clean: Images, embeddings: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        image = ((purified - clean).square().mean() + 1e-12).sqrt()
        if self.features is None:
            return image, {"image": image}
        feature = (self.features.embed(purified) - embeddings).abs().mean()
        weight = self.weight * (embeddings.shape[1] / _REFERENCE_DIM) ** 0.5
        return image + weight * feature, {"image": image, "feature": feature}


class PurifierLearner(nn.Module):
    """``Learner`` of the purifier: the loss of purified amplified cloaks against the uncloaked photos."""

    def __init__(
        self, network: RedNet, criterion: PurificationLoss, amplification: Amplification, photos: Photos
    ) -> None:
        super().__init__()
        self.network, self.criterion, self.amplification, self.photos = network, criterion, amplification, photos

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        flip = torch.rand(len(rows), generator=generator, device=rows.device) < 0.5
        delta = self.photos.deltas(images, rows)
        clean, delta = (torch.where(flip[:, None, None, None], each.flip(3), each) for each in (images, delta))
        embeddings = self.photos.embeddings[flip.long(), rows]
        return self.purification_loss(self.amplification(clean, delta, generator), clean, embeddings)

    def purification_loss(self, inputs: Images, clean: Images, embeddings: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the purified ``inputs``, in full precision except for the network."""
        purified = self.network(inputs).float()
        with torch.autocast(inputs.device.type, enabled=False):
            return self.criterion(purified, clean, embeddings)

    def after_step(self, steps: int) -> None:
        pass


class ValidatedPurifierLearner(PurifierLearner):
    """``PurifierLearner`` validated on photos of other people.

    Args:
        parts: arguments of ``PurifierLearner``.
        validation: the validation photos.
        factor: amplification of their cloaks.
    """

    def __init__(self, *parts: Any, validation: Photos, factor: float) -> None:
        super().__init__(*parts)
        self.validation, self.factor = validation, factor

    def validation_metrics(self) -> Mapping[str, Tensor]:
        losses = []
        for chunk in _chunks(len(self.validation.cloaked)):
            rows = torch.from_numpy(chunk).to(self.validation.cloaked.device)
            clean, embeddings = self.validation.faces.load(chunk, rows.device), self.validation.embeddings[0, rows]
            cloaked = amplify(clean, self.validation.deltas(clean, rows), self.factor)
            pair = torch.stack([self.purification_loss(each, clean, embeddings)[0] for each in (cloaked, clean)])
            losses.append(pair * (len(chunk) / len(self.validation.cloaked)))
        on_cloaked, on_clean = torch.stack(losses).sum(dim=0)
        fraction = self.amplification.clean_fraction
        mean = (1 - fraction) * on_cloaked + fraction * on_clean
        return {"validation": mean, "validation_cloaked": on_cloaked, "validation_natural": on_clean}
