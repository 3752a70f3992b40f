"""How an extractor is taught cloaks: trained further to name people from natural and cloaked photos alike.

The adaptive tracker of Radiya-Dixit et al. (ICLR 2022): the cloaking tool is public, so the tracker runs it on photos
of other people (specs/cloaks_puface 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import skip_init

from frbench.defenses.cloak_removal.cloaked_faces import CloakedFaces
from frbench.defenses.cloak_removal.puface_fit import chosen
from frbench.defenses.components.artifact_keys import named
from frbench.harness.core.contracts import Artifact, FitContext
from frbench.harness.core.domains import Fraction
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import Images
from frbench.harness.recognizers.preprocessing import unit_length
from frbench.harness.recognizers.trainable import network_of
from frbench.harness.training.loop import Schedule, train


class _Teaching(nn.Module):
    """A ``Learner`` of the extractor under a softmax over people, which is thrown away in the end."""

    def __init__(self, network: nn.Module, dim: int, identity: np.ndarray, cloaked: Tensor, share: float) -> None:
        super().__init__()
        number = np.unique(identity, return_inverse=True)[1].reshape(-1)
        self.network, self.head = network.requires_grad_(True), skip_init(nn.Linear, dim, int(number.max()) + 1)
        self.person = nn.Buffer(torch.from_numpy(number), persistent=False)
        self.cloaked, self.share, self.scale = cloaked, share, dim**0.5
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def train(self, mode: bool = True) -> _Teaching:
        """Normalisation layers keep the statistics that the recognizer came with."""
        super().train(mode)
        self.network.eval()
        return self

    def loss(self, images: Images, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        wears, turned = torch.rand(2, len(rows), 1, 1, 1, generator=generator, device=rows.device)
        cloaks = self.cloaked[rows.cpu()].to(images.device).permute(0, 3, 1, 2).to(images.dtype) / 255
        shown = torch.where(wears < self.share, cloaks, images)
        shown = torch.where(turned < 0.5, shown.flip(3), shown)
        logits = self.head(self.scale * unit_length(self.network(shown)))
        right = (logits.argmax(dim=1) == self.person[rows]).float().mean()
        return cross_entropy(logits, self.person[rows]), {"accuracy": right}

    def stepped(self, steps: int) -> None:
        pass


@dataclass(frozen=True)
class RobustRecipe:
    """cloaks: photos of public people and their cloaks, on which the recognizer's network is trained further.

    share: how often a photo is shown cloaked. Photos are drawn alike, where the authors draw a person first: take
    people with about as many photos each.
    """

    identity = "recipe.robust_extractor"
    version = 1

    cloaks: CloakedFaces
    schedule: Schedule
    share: Fraction = 0.5

    needs_recognizer = True

    def fit(self, context: FitContext) -> Artifact:
        """Raises FrbenchError: the recognizer shows no network to train."""
        if context.recognizer is None:
            raise ConfigError("a robust extractor is made of a recognizer; take a recognizer that gives embeddings")
        network = network_of(context.recognizer)
        made = self.cloaks.made(context)
        faces, cloaked = chosen(context.faces, made.rows), made.cloaked
        with torch.no_grad():
            dim = context.recognizer.embed(faces.load(np.arange(1), context.device)).shape[1]
        learner = _Teaching(network, dim, faces.identity, cloaked, self.share)
        history = train(learner, self.schedule, replace(context, faces=faces), "extractor")
        return named("network", learner.network.state_dict()) | named("history", history)
