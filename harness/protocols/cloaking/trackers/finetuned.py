"""A recognizer trained further, all of it, with a softmax over the people on top: end to end."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import skip_init

from frbench.harness.core.contracts import Images
from frbench.harness.core.domains import BelowOne, Positive, PositiveInt
from frbench.harness.protocols.cloaking.trackers.base import Answer, Scene, Stage, ranked
from frbench.harness.recognizers.preprocessing import unit_length
from frbench.harness.recognizers.trainable import network_of

_WIDE = 64  # photos looked at together when nothing is learnt


@dataclass(frozen=True)
class FineTuned:
    """SGD with momentum and a cosine from ``rate`` to zero over ``epochs`` of mirrored and unmirrored photos.

    The published evaluations used Adadelta with the rate of 1.0; this is the plainer choice (specs/cloaks_puface 1.3).
    Normalisation layers keep the statistics that the recognizer came with: a few hundred photos would spoil them.
    The seed is that of the split and the user whose turn it is; on a CPU the same photos give the same bits.
    """

    identity = "tracker.finetuned"
    version = 1

    rate: Positive = 0.01
    momentum: BelowOne = 0.9
    epochs: PositiveInt = 10
    batch: PositiveInt = 32
    users: PositiveInt | None = 5

    def answers(self, stage: Stage, scenes: Sequence[Scene]) -> Iterator[Answer]:
        network, tests = network_of(stage.recognizer), stage.test_images()
        labels = torch.from_numpy(stage.labels).to(tests.device)
        for scene in scenes:
            photos = stage.training_images(scene)
            student = _Student(copy.deepcopy(network), stage.natural.shape[1], stage.people).to(photos.device)
            self._train(student, photos, labels, _generator(stage.seed, scene.user))
            own = stage.own(scene)
            named = student.looking_at(photos[torch.from_numpy(own).to(photos.device)]).argmax(dim=1)
            learnt: np.ndarray = named.cpu().numpy() == stage.labels[own]
            yield Answer(ranked(student.looking_at(tests)), learnt)

    def _train(self, student: _Student, photos: Images, labels: Tensor, generator: torch.Generator) -> None:
        optimizer = torch.optim.SGD(student.parameters(), self.rate, momentum=self.momentum)
        steps = self.epochs * -(-len(photos) // self.batch)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(self.epochs):
            order = torch.randperm(len(photos), generator=generator).to(photos.device)
            for rows in order.split(self.batch):
                mirrored = (torch.rand(len(rows), generator=generator) < 0.5).to(photos.device)
                batch = torch.where(mirrored[:, None, None, None], photos[rows].flip(-1), photos[rows])
                loss = cross_entropy(student(batch), labels[rows])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                decay.step()


class _Student(nn.Module):
    """The recognizer and a head on its embeddings, scaled so that a dimension is about one.

    The head starts at zero: at first it alone learns, and no luck of its start is in the result.
    """

    def __init__(self, network: nn.Module, dim: int, people: int) -> None:
        super().__init__()
        self.network, self.scale = network.eval().requires_grad_(True), dim**0.5
        self.head = skip_init(nn.Linear, dim, people)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Images) -> Tensor:
        return cast(Tensor, self.head(self.scale * unit_length(self.network(images))))

    @torch.no_grad()
    def looking_at(self, images: Images) -> Tensor:
        """Scores (N, people)."""
        return torch.cat([self(part) for part in images.split(_WIDE)])


def _generator(seed: int, user: int | None) -> torch.Generator:
    """Hashed, because a generator on the CPU looks at the lowest 32 bits alone."""
    chance = np.random.SeedSequence((seed, 0 if user is None else user + 1)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(chance[0]))
