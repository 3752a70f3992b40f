"""Ensembles of recognizers as defenses: trained for diversity (Amada et al., 2021), or fused from given recognizers.

The method: docs/methods/ensembles.md.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from torch import nn

from frbench.defenses.components.fitted import FittedDefense
from frbench.harness.core.contracts import Fitted, Recipe, Recognizer, Verifier
from frbench.harness.core.errors import ConfigError, Refused
from frbench.harness.core.face_data import FaceSource
from frbench.harness.core.verifiers import CosineVerifier
from frbench.harness.recognizers.ensemble import EnsembleRecognizer
from frbench.harness.recognizers.fusion import Fusion, fused
from frbench.harness.recognizers.inference import Prepared
from frbench.harness.recognizers.initialization import Architecture, bare, load_member, member_names
from frbench.harness.recognizers.preprocessing import Preprocessing
from frbench.harness.recognizers.trainable import NetworkWithPreprocessing, counting_as, network_of
from frbench.harness.recognizers.trained import Trained
from frbench.harness.recognizers.weight_files import find_weights, read_metadata, read_state


class NetworkRecipe(Recipe, Protocol):
    """A recipe whose artifact holds the weights of one or more networks as ``members.K.NAME``.

    Attributes:
        network: the architecture, or None to start from the network of the recognizer.
        members: number of networks.
        shared_head: whether one classification head trained all members, so that they share an embedding space.
    """

    @property
    def network(self) -> Architecture | None: ...

    @property
    def members(self) -> int: ...

    @property
    def shared_head(self) -> bool: ...


@dataclass(frozen=True)
class Member(Prepared):
    """Network ``number`` of a trained ensemble, identified by the artifact that holds its weights."""

    identity = "recognizer.ensemble_member"
    version = 1

    artifact: Fitted
    number: int
    whole: NetworkWithPreprocessing = field(compare=False, repr=False)
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
class TrainedEnsemble(FittedDefense):
    """One or more networks trained by ``recipe`` on ``faces``, which replace the recognizer.

    Adaptive attackers differentiate through the fusion that decides.

    Attributes:
        faces: training faces, of people outside the test set.
        recipe: the training.
        fusion: score of a pair: ``mean`` is the cosine of the mean embeddings and requires a shared head, ``concat``
            the mean of the members' cosines, ``min`` their minimum.
        option: name of the defense in conf/defense.
    """

    identity = "defense.trained_ensemble"
    version = 1

    faces: FaceSource = field(compare=False)  # identified by the digest of its images, not by paths
    recipe: NetworkRecipe
    fusion: Fusion = "mean"
    option: str = field(default="diverse_ensemble", compare=False)
    artifact: Fitted | None = field(default=None, repr=False)

    def check_combination(self, where: str) -> None:
        if self.fusion == "mean" and self.recipe.members > 1 and not self.recipe.shared_head:
            raise ConfigError(
                f"{where}.fusion=mean averages embeddings of members with separate heads, whose spaces differ; use "
                f"{where}.fusion=concat or min, or a training with shared_head=true"
            )

    def protect(self, verifier: Verifier) -> Verifier:
        """Replace the recognizer by the ensemble.

        Raises:
            FrbenchError: the defense is not fitted.
            Refused: the verifier has no recognizer to replace.
        """
        return fused(self._members(_replaced(verifier)), self.fusion)

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]:
        return {"exact": self.protect(verifier)}

    def replace_recognizer(self, recognizer: Recognizer) -> Recognizer:
        """The ensemble as one recognizer, for trackers.

        Raises:
            Refused: the fusion has no embeddings.
        """
        return _recognizer(self.protect(CosineVerifier(recognizer)))

    def _members(self, recognizer: Recognizer) -> list[Recognizer]:
        """The members, prepared once for each recognizer, with images counted by its meter."""
        artifact = self.ready
        if recognizer.digest not in self._prepared:
            self._prepared[recognizer.digest] = self._networks(recognizer, artifact)
        return [counting_as(recognizer, member) for member in self._prepared[recognizer.digest]]

    def _networks(self, recognizer: Recognizer, artifact: Fitted) -> list[Member]:
        initial = network_of(recognizer) if self.recipe.network is None else self.recipe.network.module(0)
        whole = (
            initial
            if isinstance(initial, NetworkWithPreprocessing)
            else NetworkWithPreprocessing(Preprocessing(), initial)
        )
        device = str(next(iter(artifact.tensors.values())).device)
        return [Member(artifact, number, whole, device) for number in range(len(member_names(artifact.tensors)))]

    @cached_property
    def _prepared(self) -> dict[str, list[Member]]:
        return {}


@dataclass(frozen=True)
class FusedDefense:
    """An ensemble of given recognizers, which replaces the recognizer without training.

    Attributes:
        members: two or more recognizers with distinct networks, by arbitrary names.
        fusion: score of a pair: ``mean`` is the cosine of the mean embeddings and requires ``shared_head``, ``concat``
            the mean of the members' cosines, ``min`` their minimum.
        shared_head: whether one classification head trained all members, so that they share an embedding space.
    """

    identity = "defense.fused"
    version = 1

    members: Mapping[str, Recognizer]
    fusion: Fusion = "concat"
    shared_head: bool = False

    def check_combination(self, where: str) -> None:
        if self.fusion == "mean" and not self.shared_head:
            raise ConfigError(
                f"{where}.fusion=mean averages embeddings of separately trained recognizers, whose spaces differ; use "
                f"{where}.fusion=concat or min"
            )

    @property
    def trained_on(self) -> np.ndarray:
        """Training identities of all members that declare theirs."""
        return EnsembleRecognizer(self.members).trained_on

    def protect(self, verifier: Verifier) -> Verifier:
        """Replace the recognizer by the fused members.

        Raises:
            FrbenchError: fewer than two members, or two with the same network.
            Refused: the verifier has no recognizer to replace.
        """
        recognizer = _replaced(verifier)
        members = EnsembleRecognizer(self.members).distinct
        return fused([counting_as(recognizer, member) for member in members], self.fusion)

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]:
        return {"exact": self.protect(verifier)}

    def replace_recognizer(self, recognizer: Recognizer) -> Recognizer:
        """The ensemble as one recognizer, for trackers.

        Raises:
            Refused: the fusion has no embeddings.
        """
        return _recognizer(self.protect(CosineVerifier(recognizer)))


@dataclass(frozen=True)
class EnsembleFile:
    """The networks of a file that ``frbench fit training=NAME`` wrote, in place of the recognizer.

    Args:
        weights: Path of the file, or ``pkg:NAME``.
        fusion: As of ``TrainedEnsemble``; None: ``mean`` where the networks share a head, else ``concat``.
        device: As of a recognizer.
        trust: Packages besides frbench whose network classes the file may name.
    """

    identity = "defense.ensemble_file"
    version = 1

    weights: str = field(compare=False)  # the networks count, not the path
    fusion: Fusion | None = None
    device: str = field(default="cpu", compare=False)
    trust: Sequence[str] = field(default=(), compare=False)

    @cached_property
    def stands_for(self) -> FusedDefense:
        """The networks as a defense. Raises FrbenchError: no such file, or one without trained networks."""
        file = find_weights(self.weights)
        shared_head = bool(read_metadata(file).get("shared_head"))
        members = {
            str(number): Trained(self.weights, number, f"{file.stem}/{number}", device=self.device, trust=self.trust)
            for number in range(len(member_names(read_state(file))))
        }
        defense = FusedDefense(members, self.fusion or ("mean" if shared_head else "concat"), shared_head)
        defense.check_combination("defense")
        return defense

    @property
    def trained_on(self) -> np.ndarray:
        """As of ``FusedDefense``."""
        return self.stands_for.trained_on

    def protect(self, verifier: Verifier) -> Verifier:
        """As of ``FusedDefense``."""
        return self.stands_for.protect(verifier)

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]:
        """As of ``FusedDefense``."""
        return self.stands_for.relaxations(verifier)

    def replace_recognizer(self, recognizer: Recognizer) -> Recognizer:
        """As of ``FusedDefense``."""
        return self.stands_for.replace_recognizer(recognizer)


def _replaced(verifier: Verifier) -> Recognizer:
    """The recognizer that the ensemble replaces."""
    if isinstance(verifier, CosineVerifier):
        return verifier.recognizer
    raise Refused(
        "an ensemble replaces a recognizer that computes embeddings, and this one only compares two images; use a "
        "recognizer with embeddings"
    )


def _recognizer(verifier: Verifier) -> Recognizer:
    if isinstance(verifier, CosineVerifier):
        return verifier.recognizer
    raise Refused("fusion=min computes no embeddings for a tracker; use defense.fusion=concat")
