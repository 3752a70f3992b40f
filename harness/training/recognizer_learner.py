"""The base of all learners of recognizers: networks with classification heads over the people of the faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from frbench.harness.core.contracts import Artifact, FitContext
from frbench.harness.core.errors import ConfigError
from frbench.harness.core.face_data import Images
from frbench.harness.core.training_identities import PEOPLE, people_digests, training_identities
from frbench.harness.recognizers.initialization import bare, seed_of
from frbench.harness.recognizers.preprocessing import unit_length
from frbench.harness.training.class_labels import class_labels
from frbench.harness.training.loop import Schedule, train
from frbench.harness.training.losses.base import EnsembleOutput
from frbench.harness.training.losses.diversity_metrics import diagnosis
from frbench.harness.training.pair_validation import Validation

_DIAGNOSED, _CHUNK = 2048, 128  # training faces of the diagnosis, and of a forward pass
_MEMBERS, _HEADS = 0, 1  # streams of seeds


def member_seed(seed: int, member: int) -> int:
    """The seed of the initial weights of ``member``, whatever the number of members."""
    return seed_of(seed, _MEMBERS, member)


@dataclass(frozen=True)
class TrainingOptions:
    """Schedule, augmentation and validation of a learner."""

    identity = "training.options"
    version = 1

    schedule: Schedule
    flip: bool
    validation: Validation
    val_every_n_epochs: int


def check_batch(schedule: Schedule, where: str) -> None:
    """Raises ConfigError: batch normalization cannot train on a batch of one."""
    if schedule.batch_size < 2:
        raise ConfigError(
            f"{where}.schedule.batch_size={schedule.batch_size}: batch normalization needs 2 faces or more"
        )


class RecognizerLearner(nn.Module):
    """Networks from images in [0, 1] to raw embeddings, with a classification head (n, d) each or one for all.

    The number of steps is part of its state, so a resumed training continues with the same margins and weights.
    """

    def __init__(
        self, members: Sequence[nn.Module], options: TrainingOptions, context: FitContext, shared: bool
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(each.cpu().requires_grad_(True) for each in members)
        for member in self.members:
            member.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.options, self.val_every_n_epochs = options, options.val_every_n_epochs
        labels = class_labels(context.faces)
        self.person = nn.Buffer(torch.from_numpy(labels), persistent=False)
        dim, people = _dimension(members[0], context), int(labels.max()) + 1
        count = 1 if shared else len(members)
        self.heads = nn.ParameterList(_head(people, dim, seed_of(context.seed, _HEADS, j)) for j in range(count))
        self.per_epoch = max(1, options.schedule.per_epoch(len(context.faces.images)))
        self.steps = 0

    def random_flip(self, images: Images, generator: torch.Generator) -> Images:
        """``images``, each mirrored with probability 1/2."""
        if not self.options.flip:
            return images
        turn = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < 0.5
        return torch.where(turn, images.flip(3), images).contiguous(memory_format=torch.channels_last)

    def embed(self, images: Images) -> Tensor:
        """Unit embeddings (N, K, d), float32, of (N, 3, H, W)."""
        return torch.stack([unit_length(member(images)) for member in self.members], dim=1)

    def class_centers(self) -> Tensor:
        """The rows of the heads at unit length, (K, n, d) or (1, n, d)."""
        return torch.stack([normalize(head, dim=1) for head in self.heads])

    def parameter_groups(self) -> list[list[nn.Parameter]]:
        """Each member with its head; a shared head by itself. InsightFace clips only the network's gradient."""
        members, heads = [list(member.parameters()) for member in self.members], list(self.heads)
        if len(heads) < len(members):
            return [*members, heads]
        return [[*member, head] for member, head in zip(members, heads, strict=True)]

    @property
    def epoch(self) -> float:
        return self.steps / self.per_epoch

    @property
    def progress(self) -> float:
        return min(1.0, self.epoch / self.options.schedule.epochs)

    def after_step(self, steps: int) -> None:
        self.steps = steps

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.steps, device=self.person.device)

    def set_extra_state(self, state: Tensor) -> None:
        self.steps = int(state)

    def monitored_metrics(self) -> Mapping[str, Tensor]:
        return self.options.validation.accuracy(self.embed, self.person.device)

    def fit(self, context: FitContext, title: str) -> Artifact:
        """Train, and return weights, heads, training identities, history and diagnosis."""
        history = train(self, self.options.schedule, context, title)
        weights = {
            f"members.{k}.{name}": each
            for k, member in enumerate(self.members)
            for name, each in bare(member).state_dict().items()
        }
        heads = {f"heads.{j}": head.detach() for j, head in enumerate(self.heads)}
        metrics = {f"history/{name}": each for name, each in history.items()}
        people = np.union1d(people_digests(context.faces.people), training_identities(context.recognizer))
        identities = {PEOPLE: torch.from_numpy(people)}
        return (
            weights
            | heads
            | identities
            | metrics
            | {f"diagnosis/{name}": each for name, each in self._diagnosis(context).items()}
        )

    @torch.no_grad()
    def _diagnosis(self, context: FitContext) -> dict[str, Tensor]:
        count = len(context.faces.images)
        rows = np.unique(np.linspace(0, count - 1, min(count, _DIAGNOSED)).astype(np.int64))
        parts = [rows[first : first + _CHUNK] for first in range(0, len(rows), _CHUNK)]
        embeddings = torch.cat([self.embed(context.faces.load(part, context.device)) for part in parts])
        return diagnosis(
            EnsembleOutput(embeddings, self.class_centers(), self.person[torch.from_numpy(rows).to(embeddings.device)])
        )


def _dimension(member: nn.Module, context: FitContext) -> int:
    with torch.no_grad():
        return int(unit_length(member.eval()(context.faces.load(np.arange(1)))).shape[1])


def _head(people: int, dim: int, seed: int) -> nn.Parameter:
    """A head with rows of about unit length."""
    return nn.Parameter(torch.randn(people, dim, generator=torch.Generator().manual_seed(seed)) * dim**-0.5)
