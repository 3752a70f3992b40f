"""The contracts of recognizers, attacks, defenses and the other parts of frbench, as Protocols.

Conventions that hold everywhere:

* ``Images``: float32 (N, 3, H, W), RGB, aligned to the five-point 112x112 template, in [0, 1].
* ``Embeddings``: float32 (N, D), unit length. ``Scores``: float32 (N,), cosine. ``Mask``: bool (N,).
* A pair is accepted as genuine when its score is greater than the threshold.
* A part is a frozen dataclass of its hyper-parameters; models and data are arguments of its methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from frbench.harness.core.counter_rng import Draw as Draw
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.face_data import FaceSet, FaceSource, PairBatch, PairSet, UserSet
from frbench.harness.core.face_data import Images as Images
from frbench.harness.core.face_data import Mask as Mask

Artifact = Mapping[str, Tensor]
Embeddings = Tensor
Scores = Tensor


@runtime_checkable
class Recognizer(Protocol):
    """A network that embeds faces. It does its own normalisation, resizing and channel order.

    differentiable: whether gradients flow from ``embed`` to its input. digest: SHA-256 of the weights.
    """

    @property
    def name(self) -> str: ...

    @property
    def differentiable(self) -> bool: ...

    @property
    def digest(self) -> str: ...

    def embed(self, images: Images) -> Embeddings: ...


@dataclass(frozen=True)
class Template:
    """Enrolled reference images, one row per pair, indexed like a tensor.

    vectors: (N, ...), as the verifier needs them. index: global pair numbers (N,).
    """

    vectors: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: Tensor | slice) -> Template:
        return Template(self.vectors[rows], self.index[rows])


class Verifier(Protocol):
    """A system that compares faces: the view of an attacker, or the victim. random: whether scores vary by draw."""

    @property
    def differentiable(self) -> bool: ...

    @property
    def random(self) -> bool: ...

    def enroll(self, reference: Images, index: Tensor, draw: Draw) -> Template: ...

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores: ...


class Goal(Protocol):
    """The attacker's goal for a pair. Attacks minimise ``loss``; ``target`` returns the images to resemble.

    achieved_on: the data on which the goal is evaluated, ``PairSet`` or ``UserSet``. eligible: the pairs that the goal
    applies to. beyond: the scores that exceed the thresholds by ``margin``, in the direction of the goal.
    """

    @property
    def achieved_on(self) -> type[PairSet] | type[UserSet]: ...

    def eligible(self, same: Mask) -> Mask: ...

    def loss(self, scores: Scores) -> Scores: ...

    def target(self, pairs: PairBatch) -> Images: ...

    def achieved(self, scores: Scores, threshold: Scores) -> Mask: ...

    def beyond(self, threshold: Scores, margin: float) -> Scores: ...


class Ball(Protocol):
    """A budget around given clean images, for the loop of an attack. All methods return new images.

    step: moves against ``gradient`` by ``fraction`` of the radius, a number or (N, 1, 1, 1), and projects. sample:
    random starts from uniform noise in [0, 1).
    """

    def step(self, images: Images, gradient: Tensor, fraction: float | Tensor) -> Images: ...

    def project(self, images: Images) -> Images: ...

    def sample(self, noise: Tensor) -> Images: ...

    def __getitem__(self, rows: Tensor) -> Ball: ...


class Budget(Protocol):
    """A limit on the change of an image. The radius is a number, or one per pair (N,), indexed like a tensor."""

    def project(self, adversarial: Images, clean: Images) -> Images: ...

    def around(self, clean: Images) -> Ball: ...

    def size(self, adversarial: Images, clean: Images) -> Tensor: ...

    def fits(self, adversarial: Images, clean: Images) -> Mask: ...

    def resized(self, radius: Tensor | float) -> Budget: ...

    def __getitem__(self, rows: Tensor) -> Budget: ...


@dataclass(frozen=True)
class View:
    """The attacker's access to a system.

    Attributes:
        verifier: the system, or the attacker's approximation of it.
        thresholds: float32 over all pairs of the dataset, indexed by global pair number.
        seed: of the draws of a random verifier.
        margin: distance beyond the threshold, on the cosine, at which an attack with early stopping stops.
        queries: scores allowed per pair, None for no limit. Beyond the limit a score is NaN, which is not a success.
    """

    identity = "threat.view"
    version = 1

    verifier: Verifier
    thresholds: Tensor
    seed: int = 0
    margin: float = 0.0
    queries: int | None = None

    def enroll(self, pairs: PairBatch) -> Template:
        return self.verifier.enroll(pairs.reference, pairs.index, Draw(self.seed, Stream.QUERY))

    def score(self, probe: Images, template: Template, step: int = 0) -> Scores:
        return self.verifier.score(probe, template, Draw(self.seed, Stream.QUERY, step))

    def final_score(self, probe: Images, template: Template) -> Scores:
        """The score by which an attack compares its results: at a draw of a random verifier that no step has used."""
        return self.verifier.score(probe, template, Draw(self.seed, Stream.COMPARISON))

    def aim(self, goal: Goal, index: Tensor) -> Scores:
        """The scores (N,) to reach for the pairs ``index``: the thresholds with the margin."""
        return goal.beyond(self.thresholds.to(index.device)[index], self.margin)


@dataclass(frozen=True)
class AttackResult:
    """Result of an attack. Queries are counted outside of the attack.

    images: float32 (N, 3, H, W). achieved: bool (N,), on the attacker's view. iterations: int64 (N,).
    """

    images: Images
    achieved: Mask
    iterations: Tensor


class Attack(Protocol):
    """An evasion attack. A subclass inherits the defaults of the four capabilities and overrides what differs."""

    @property
    def needs_gradient(self) -> bool:
        """Whether the attack is refused on a view without gradients."""
        return True

    @property
    def bounded(self) -> bool:
        """Whether images keep within the budget; otherwise the attack succeeds where they fit it."""
        return True

    @property
    def stops_early(self) -> bool:
        """Whether it stops at success, so that a defense unknown to the attacker looks stronger than it is."""
        return False

    @property
    def batch_dependent(self) -> bool:
        """Whether results depend on the batch, as those of library attacks with a global random state do."""
        return False

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult: ...


class Defense(Protocol):
    """Wraps a verifier. relaxations: differentiable approximations of the defended verifier by name, best first."""

    def protect(self, verifier: Verifier) -> Verifier: ...

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]: ...


@dataclass(frozen=True)
class Fitted:
    """A fitted artifact. key: fingerprint of recipe, data and recognizer; sha256: of the file."""

    identity = "artifact.fitted"
    version = 1

    key: str
    sha256: str
    tensors: Artifact

    def fingerprint(self) -> str:
        return self.key


@dataclass(frozen=True)
class FitContext:
    """The inputs of a fit.

    Attributes:
        faces: clean faces of people outside the test set.
        recognizer: None where the recipe does not need one.
        part: the artifact of another recipe on the same faces, fitted once and shared.
        unfinished: path of a checkpoint from which an interrupted fit resumes; removed at the end.
        cache: folder of decoded images, to open further datasets, such as validation pairs.
    """

    faces: FaceSet
    recognizer: Recognizer | None
    seed: int
    device: torch.device
    part: Callable[[Recipe], Artifact]
    unfinished: Path
    cache: Path | None = None


class Recipe(Protocol):
    """How an artifact is fitted: a frozen dataclass of its hyper-parameters."""

    @property
    def needs_recognizer(self) -> bool: ...

    def fit(self, context: FitContext) -> Artifact: ...


@runtime_checkable
class Fittable(Protocol):
    """A defense that is fitted on ``faces`` by ``recipe``.

    artifact: None before fitting. fitted: the same defense with its artifact.
    """

    @property
    def faces(self) -> FaceSource: ...

    @property
    def recipe(self) -> Recipe: ...

    @property
    def artifact(self) -> Fitted | None: ...

    def fitted(self, artifact: Fitted) -> Defense: ...


@dataclass(frozen=True)
class Victim:
    """The system under attack, from which a threat model derives the attacker's views.

    verifier: without defense. lift: makes a verifier of a recognizer. calibrate: the thresholds (N,) of a verifier,
    from the clean scores of all pairs. seed: of the attacker's draws.
    """

    verifier: Verifier
    defense: Defense
    lift: Callable[[Recognizer], Verifier]
    calibrate: Callable[[Verifier], Tensor]
    seed: int


class ThreatModel(Protocol):
    """The attacker's knowledge, as one view or several; of several, the strongest result per pair counts."""

    def views(self, victim: Victim) -> Mapping[str, View]: ...
