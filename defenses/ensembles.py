"""Ensembles in the place of a recognizer: networks trained to differ (Amada et al., 2021) and their controls, or any
recognizers at hand."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, Self

import numpy as np
from torch import nn

from frbench.harness.core.contracts import Fitted, Recipe, Recognizer, Verifier
from frbench.harness.core.errors import ConfigError, FrbenchError, Refused
from frbench.harness.core.face_data import FaceSource
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.recognizers.ensemble import EnsembleRecognizer
from frbench.harness.recognizers.fusion import Fusion, fused
from frbench.harness.recognizers.inference import Prepared
from frbench.harness.recognizers.initialization import Untrained, bare, load_member, member_names
from frbench.harness.recognizers.preprocessing import Preprocessing
from frbench.harness.recognizers.trainable import WholeNetwork, counting_as, network_of


class Training(Recipe, Protocol):
    """A recipe whose artifact holds the weights of networks, ``members.K.NAME``.

    network: their architecture, or None for that of the recognizer. members: how many there are. shared_head: whether
    they were trained under one classification head, so that their embeddings have the same coordinates.
    """

    @property
    def network(self) -> Untrained | None: ...

    @property
    def members(self) -> int: ...

    @property
    def shared_head(self) -> bool: ...


@dataclass(frozen=True)
class Member(Prepared):
    """One network of a trained ensemble; known by the artifact that its weights come from, and its number there."""

    identity = "recognizer.ensemble_member"
    version = 1

    artifact: Fitted
    number: int
    whole: WholeNetwork = field(compare=False, repr=False)
    device: str = field(default="cpu", compare=False)

    @property
    def name(self) -> str:
        return f"member {self.number}"

    @property
    def digest(self) -> str:
        return f"{self.artifact.sha256}/{self.number}"

    @property
    def preprocessing(self) -> Preprocessing:
        return self.whole.preprocessing

    def as_shipped(self) -> nn.Module:
        return bare(load_member(copy.deepcopy(self.whole).cpu(), self.artifact.tensors, self.number)).eval()

    def fingerprint(self) -> dict[str, object]:
        return {"artifact": self.artifact, "member": self.number}


@dataclass(frozen=True)
class TrainedEnsemble:
    """``recipe`` carried out on ``faces``, people other than those of the test set; it takes the recognizer's place.

    fusion: ``mean`` of the members' vectors, which needs shared class vectors; ``concat``, the mean of their cosines;
            ``min`` of their cosines. The attacker differentiates through the one that decides.
    option: what it is called on the command line.
    """

    identity = "defense.trained_ensemble"
    version = 1

    faces: FaceSource = field(compare=False)  # known by the digest of what it opens to, not by its paths
    recipe: Training
    fusion: Fusion = "mean"
    option: str = field(default="diverse_ensemble", compare=False)
    artifact: Fitted | None = field(default=None, repr=False)

    def fitted(self, artifact: Fitted) -> Self:
        return replace(self, artifact=artifact)

    def check_combination(self, where: str) -> None:
        if self.fusion == "mean" and self.recipe.members > 1 and not self.recipe.shared_head:
            raise ConfigError(
                f"{where}.fusion=mean: the members have class vectors of their own, so the mean of their vectors means "
                f"nothing; take {where}.fusion=concat or min, or a training with shared_head=true"
            )

    def protect(self, verifier: Verifier) -> Verifier:
        """Raises FrbenchError: not fitted. Refused: no recognizer."""
        return fused(self._members(_replaced(verifier)), self.fusion)

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]:
        return {"exact": self.protect(verifier)}

    def retaught(self, recognizer: Recognizer) -> Recognizer:
        """The ensemble as one recognizer, for trackers. Raises Refused: its fusion has no vectors."""
        return _vectors(self.protect(CosineVerifier(recognizer)))

    def _members(self, recognizer: Recognizer) -> list[Recognizer]:
        """The networks, prepared once for each recognizer, counting where it counts."""
        if self.artifact is None:
            raise FrbenchError(f"defense={self.option} is not fitted; run: frbench fit defense={self.option}")
        if recognizer.digest not in self._made:
            self._made[recognizer.digest] = self._networks(recognizer, self.artifact)
        return [counting_as(recognizer, member) for member in self._made[recognizer.digest]]

    def _networks(self, recognizer: Recognizer, artifact: Fitted) -> list[Member]:
        born = network_of(recognizer) if self.recipe.network is None else self.recipe.network.module(0)
        whole = born if isinstance(born, WholeNetwork) else WholeNetwork(Preprocessing(), born)
        device = str(next(iter(artifact.tensors.values())).device)
        return [Member(artifact, number, whole, device) for number in range(len(member_names(artifact.tensors)))]

    @cached_property
    def _made(self) -> dict[str, list[Member]]:
        return {}


@dataclass(frozen=True)
class FusedDefense:
    """Any recognizers in the place of one, without training: ``concat``, the mean of their cosines, or ``min``.

    members: at least two, by any name, no network twice.
    shared_head: they were trained under one classification head, so that ``mean``, of their embeddings, is valid too.
    """

    identity = "defense.fused"
    version = 1

    members: Mapping[str, Recognizer]
    fusion: Fusion = "concat"
    shared_head: bool = False

    def check_combination(self, where: str) -> None:
        if self.fusion == "mean" and not self.shared_head:
            raise ConfigError(
                f"{where}.fusion=mean: recognizers that were trained apart have spaces of their own, so the mean of "
                f"their vectors means nothing; take {where}.fusion=concat or min"
            )

    @property
    def trained_on(self) -> np.ndarray:
        """Of all members, as far as they say; see ``trained_people.known_people``."""
        return EnsembleRecognizer(self.members).trained_on

    def protect(self, verifier: Verifier) -> Verifier:
        """Raises FrbenchError: members that make no ensemble. Refused: no recognizer to replace."""
        counting = _replaced(verifier)
        several = EnsembleRecognizer(self.members).distinct
        return fused([counting_as(counting, member) for member in several], self.fusion)

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]:
        return {"exact": self.protect(verifier)}

    def retaught(self, recognizer: Recognizer) -> Recognizer:
        """The ensemble as one recognizer, for trackers. Raises Refused: its fusion has no vectors."""
        return _vectors(self.protect(CosineVerifier(recognizer)))


def _replaced(verifier: Verifier) -> Recognizer:
    """The recognizer whose place is taken."""
    if isinstance(verifier, CosineVerifier):
        return verifier.recognizer
    raise Refused(
        "an ensemble takes the place of a recognizer, and this one only tells how alike two images are, so there is "
        "nothing to replace; take a recognizer that gives embeddings"
    )


def _vectors(verifier: Verifier) -> Recognizer:
    if isinstance(verifier, CosineVerifier):
        return verifier.recognizer
    raise Refused("an ensemble by the least cosine has no vectors to learn from; take defense.fusion=concat")
