"""The nouns of frbench, one small contract each. Of ours this module imports only ``faces``.

Conventions that hold everywhere:

* ``Images``: float32 (N, 3, H, W), RGB, aligned to the five-point 112x112 template, in [0, 1].
* ``Embeddings``: float32 (N, D), unit length. ``Scores``: float32 (N,), cosine. ``Mask``: bool (N,).
* A pair is accepted as genuine when its score is greater than the threshold.
* Hyper-parameters live in constructors (frozen dataclasses); models and data come at the call.
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

Embeddings = Tensor
Scores = Tensor


@runtime_checkable
class Recognizer(Protocol):
    """A face embedder. Normalisation, resizing and channel order are its own business.

    ``differentiable``: whether gradients flow from ``embed`` to its input.
    ``digest``: SHA-256 of the weights.
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
    """What a verifier keeps of the reference images: one row per pair, selectable like a tensor.

    vectors: (N, ...) whatever the verifier needs; index: (N,) global pair numbers.
    """

    vectors: Tensor
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: Tensor | slice) -> Template:
        return Template(self.vectors[rows], self.index[rows])


class Verifier(Protocol):
    """What is attacked, and what judges. ``random``: whether scores depend on the draw."""

    @property
    def differentiable(self) -> bool: ...

    @property
    def random(self) -> bool: ...

    def enroll(self, reference: Images, index: Tensor, draw: Draw) -> Template: ...

    def score(self, probe: Images, template: Template, draw: Draw) -> Scores: ...


class Goal(Protocol):
    """What the attacker wants of a pair. Attacks descend ``loss``; ``target`` is the image to resemble.

    ``achieved_on``: the data on which the goal is evaluated, ``PairSet`` or ``UserSet``.
    """

    @property
    def achieved_on(self) -> type[PairSet] | type[UserSet]: ...

    def eligible(self, same: Mask) -> Mask: ...

    def loss(self, scores: Scores) -> Scores: ...

    def target(self, pairs: PairBatch) -> Images: ...

    def achieved(self, scores: Scores, threshold: Scores) -> Mask: ...

    def beyond(self, threshold: Scores, margin: float) -> Scores: ...


class Ball(Protocol):
    """A budget around given clean images: what an attack loop touches at each step.

    ``step`` moves against ``gradient`` by ``fraction`` of the radius, a number or one per pair (N, 1, 1, 1), and
    projects, into new images. ``project`` takes any images to the budget. ``sample`` makes a random start of uniform
    noise in [0, 1).
    """

    def step(self, images: Images, gradient: Tensor, fraction: float | Tensor) -> Images: ...

    def project(self, images: Images) -> Images: ...

    def sample(self, noise: Tensor) -> Images: ...

    def __getitem__(self, rows: Tensor) -> Ball: ...


class Budget(Protocol):
    """How much of an image may change. A radius is a number, or one per pair (N,), selectable like a tensor."""

    def project(self, adversarial: Images, clean: Images) -> Images: ...

    def around(self, clean: Images) -> Ball: ...

    def size(self, adversarial: Images, clean: Images) -> Tensor: ...

    def fits(self, adversarial: Images, clean: Images) -> Mask: ...

    def resized(self, radius: Tensor | float) -> Budget: ...

    def __getitem__(self, rows: Tensor) -> Budget: ...


@dataclass(frozen=True)
class View:
    """What the attacker sees: a verifier, the threshold it knows for each pair, a seed for its draws.

    thresholds: float32 over all pairs of the set, indexed by global pair number.
    margin: how far beyond the threshold an attack that stops at success must go, on the cosine.
    queries: scores allowed for each pair, or None for no limit. Crafting counts and enforces them: beyond the limit a
             score is NaN, which no attack may take for success.
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
        """The score (N,) to pass for pairs ``index``: the threshold and the margin beyond it."""
        return goal.beyond(self.thresholds.to(index.device)[index], self.margin)


@dataclass(frozen=True)
class AttackResult:
    """images (N, 3, H, W); achieved (N,) bool in the attacker's own view; iterations (N,) int64.

    Queries are counted by what wraps the verifier, never by the attack.
    """

    images: Images
    achieved: Mask
    iterations: Tensor


class Attack(Protocol):
    """``needs_gradient``: refused where the view cannot give one.

    ``bounded``: keeps within the budget; otherwise it is crafted without limit and counts where it fits.
    ``stops_early``: stops at success, which flatters a defense that the attacker does not see.
    ``batch_dependent``: results change with the batch (library attacks with global randomness).
    """

    @property
    def needs_gradient(self) -> bool: ...

    @property
    def bounded(self) -> bool: ...

    @property
    def stops_early(self) -> bool: ...

    @property
    def batch_dependent(self) -> bool: ...

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult: ...


class Defense(Protocol):
    """Maps a verifier to a verifier; ``relaxations`` are its differentiable stand-ins, best first."""

    def protect(self, verifier: Verifier) -> Verifier: ...

    def relaxations(self, verifier: Verifier) -> Mapping[str, Verifier]: ...


Artifact = Mapping[str, Tensor]


@dataclass(frozen=True)
class Fitted:
    """A fitted artifact: its key (recipe, data, recognizer), its SHA-256, and its tensors."""

    identity = "artifact.fitted"
    version = 1

    key: str
    sha256: str
    tensors: Artifact

    def fingerprint(self) -> str:
        return self.key


@dataclass(frozen=True)
class FitContext:
    """All that fitting may see: clean faces of other people, the recognizer, a seed, a device.

    part: the artifact of another recipe on the same faces, found or made, so that what several share is made once.
    unfinished: a file in which long work may keep its state, to go on from after it was killed; removed at the end.
    cache: where images decoded once are kept, to open further sets with, such as pairs to validate on.
    """

    faces: FaceSet
    recognizer: Recognizer | None
    seed: int
    device: torch.device
    part: Callable[[Recipe], Artifact]
    unfinished: Path
    cache: Path | None = None


class Recipe(Protocol):
    """How an artifact is made: a frozen dataclass of all that decides it beside the faces, recognizer and seed.

    It stands in a module of its own, so that the artifact outlives changes of what uses it.
    """

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
    """What a threat model may look at. ``lift`` makes a verifier of a recognizer.

    ``calibrate`` gives the thresholds (N,) of a verifier on the whole clean set.
    """

    verifier: Verifier
    defense: Defense
    lift: Callable[[Recognizer], Verifier]
    calibrate: Callable[[Verifier], Tensor]
    seed: int


class ThreatModel(Protocol):
    """Through what does the attacker look? One view, or several of which the worst per pair counts."""

    def views(self, victim: Victim) -> Mapping[str, View]: ...
