"""Fine-tuned tracker: the whole recognizer is trained end to end with a softmax over the people."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import skip_init

from frbench.harness.core.contracts import Images
from frbench.harness.core.domains import BelowOne, Positive, PositiveInt
from frbench.harness.protocols.cloaking.trackers.base import Predictions, Scenario, SplitData, ranked
from frbench.harness.recognizers.preprocessing import unit_length
from frbench.harness.recognizers.trainable import network_of
from frbench.harness.runtime import interrupts

_CHUNK = 64  # photos in one forward pass without training


@dataclass(frozen=True)
class FineTuned:
    """SGD with momentum and cosine annealing from ``lr`` to zero, on photos that are mirrored with probability 1/2.

    The published evaluations used Adadelta with a learning rate of 1.0; this is the simpler choice. Normalisation
    layers keep the statistics of the recognizer: a few hundred photos would degrade them. The random numbers depend on
    the split and the user; on a CPU equal photos give equal bits.

    Args:
        lr: initial learning rate.
        momentum: of SGD.
        epochs: passes over the training photos.
        batch_size: photos per step.
        users: number of users to test, each with a training of its own; None for all.
    """

    identity = "tracker.finetuned"
    version = 1
    trainings_per_file: ClassVar[int] = 1

    lr: Positive = 0.01
    momentum: BelowOne = 0.9
    epochs: PositiveInt = 10
    batch_size: PositiveInt = 32
    users: PositiveInt | None = 5

    def predict(self, split: SplitData, scenarios: Sequence[Scenario]) -> Iterator[Predictions]:
        network, tests = network_of(split.recognizer), split.test_images()
        labels = torch.from_numpy(split.train_labels).to(tests.device)
        for scenario in scenarios:
            photos = split.training_images(scenario)
            classifier = _Classifier(copy.deepcopy(network), split.natural.shape[1], split.people).to(photos.device)
            self._train(classifier, photos, labels, _generator(split.seed, scenario.user))
            own = split.own_photos(scenario)
            named = classifier.scores(photos[torch.from_numpy(own).to(photos.device)]).argmax(dim=1)
            train_correct: np.ndarray = named.cpu().numpy() == split.train_labels[own]
            yield Predictions(ranked(classifier.scores(tests)), train_correct)

    def _train(self, classifier: _Classifier, photos: Images, labels: Tensor, generator: torch.Generator) -> None:
        optimizer = torch.optim.SGD(classifier.parameters(), self.lr, momentum=self.momentum)
        steps = self.epochs * -(-len(photos) // self.batch_size)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(self.epochs):
            order = torch.randperm(len(photos), generator=generator).to(photos.device)
            for rows in order.split(self.batch_size):
                mirrored = (torch.rand(len(rows), generator=generator) < 0.5).to(photos.device)
                batch = torch.where(mirrored[:, None, None, None], photos[rows].flip(-1), photos[rows])
                loss = cross_entropy(classifier(batch), labels[rows])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                scheduler.step()
                interrupts.check()


class _Classifier(nn.Module):
    """The recognizer and a linear head on its embeddings, which are scaled to about one per dimension.

    The head starts at zero: it alone learns at first, and the result does not depend on a random start.
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
    def scores(self, images: Images) -> Tensor:
        """Logits (N, people), in chunks and without gradients."""
        return torch.cat([self(part) for part in images.split(_CHUNK)])


def _generator(seed: int, user: int | None) -> torch.Generator:
    """Seeded by a hash, because a generator on the CPU uses only the lowest 32 bits."""
    state = np.random.SeedSequence((seed, 0 if user is None else user + 1)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
