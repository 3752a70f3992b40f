"""Users on random images, trackers' stages on random vectors, and attacks that cloak as they are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from conftest import LinearRecognizer
from support.toy_cells import toy_cell

from frbench.defenses.none import NoDefense
from frbench.harness.core.contracts import AttackResult, Budget, Goal, Images, View
from frbench.harness.core.face_data import PairBatch, UserSet
from frbench.harness.evaluation.cell import Cell, run_cell
from frbench.harness.protocols.cloaking.protocol import Cloaking
from frbench.harness.protocols.cloaking.trackers.base import Scenario, SplitData
from frbench.harness.protocols.cloaking.trackers.nearest import NearestNeighbour
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.threat_model.budgets import Unbounded
from frbench.harness.threat_model.goals import Cloak

SIZE = 16  # the window of SSIM is 11 pixels wide


def users(people: int = 5, shots: int = 10, spread: float = 25, seed: int = 0) -> UserSet:
    """Photos of each user: one random image, disturbed; the next user's photos are the targets."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.integers(40, 216, (people, SIZE, SIZE, 3)), shots, axis=0)
    images = np.clip(centres + rng.normal(0, spread, centres.shape), 0, 255).astype(np.uint8)
    return UserSet(
        name="toy_users",
        images=images,
        identity=np.repeat(np.arange(people), shots),
        targets=images,
        target=(np.arange(people * shots) + shots) % (people * shots),
        digest=f"toy-users-{people}-{shots}-{spread}-{seed}",
    )


def stage(people: int = 4, shots: int = 7, dim: int = 3, seed: int = 0, **changes: Any) -> SplitData:
    """Random unit vectors: every third photo of each person is a test photo."""
    rng = np.random.default_rng(seed)
    identity = np.repeat(np.arange(people), shots)
    test = np.arange(len(identity)) % shots % 3 == 0

    def unit(count: int) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(count, dim))).float())

    def nothing(*_: object) -> Images:
        raise AssertionError("no pixels here")

    fields: dict[str, Any] = {
        "train_labels": identity[~test],
        "test_labels": identity[test],
        "natural": unit(int((~test).sum())),
        "cloaked": unit(int((~test).sum())),
        "tests": unit(int(test.sum())),
        "training_images": nothing,
        "test_images": nothing,
        "recognizer": None,
        "seed": seed,
    }
    return SplitData(**(fields | changes))


def turns(stage: SplitData) -> list[Scenario]:
    """Nobody's, then each user's alone."""
    nobody = Scenario(None, np.zeros(len(stage.train_labels), bool))
    return [nobody, *(Scenario(user, stage.train_labels == user) for user in range(stage.people))]


@dataclass(frozen=True)
class Wearing:
    """An attack that makes of a batch what it is told, and counts its photos."""

    make: Callable[[PairBatch], Images] = field(compare=False)
    name: str = "wearing"
    photos: list[int] = field(compare=False, default_factory=list)

    needs_gradient = False
    bounded = False
    stops_early = False
    batch_dependent = False

    def __call__(self, view: View, pairs: PairBatch, goal: Goal, budget: Budget) -> AttackResult:
        self.photos.append(len(pairs))
        nothing = torch.zeros(len(pairs), dtype=torch.int64)
        return AttackResult(self.make(pairs), nothing.bool(), nothing)


def natural(pairs: PairBatch) -> Images:
    return pairs.probe


def negatives(pairs: PairBatch) -> Images:
    """What the linear recognizer has for the very opposite."""
    return 1 - pairs.probe


def cloaking_cell(make: Callable[[PairBatch], Images] | None = natural, **changes: Any) -> Cell:
    """Cloaks made by ``make`` on users of random images, judged by a linear recognizer and the nearest neighbour."""
    protocol = Cloaking(**({"tracker": NearestNeighbour()} | changes.pop("protocol", {})))
    weight = torch.randn(3 * SIZE * SIZE, 16, generator=torch.Generator().manual_seed(0))
    standard: dict[str, Any] = {
        "attack": None if make is None else Wearing(make, getattr(make, "__name__", "made")),
        "goal": Cloak(),
        "budget": Unbounded(),
        "defense": NoDefense(),
        "protocol": protocol,
    }
    recognizer = changes.pop("recognizer", LinearRecognizer(weight))
    return toy_cell(changes.pop("data", users()), recognizer, **(standard | changes))


def frame(pairs: PairBatch) -> Images:
    inner = torch.nn.functional.interpolate(pairs.probe, size=SIZE - 4, mode="area")
    return torch.nn.functional.pad(inner, (2, 2, 2, 2), value=0.5)


def framed_by_few(pairs: PairBatch) -> Images:
    """A cloaking tool that was run on the photos of the first three users alone."""
    return torch.where((pairs.index < 30)[:, None, None, None], frame(pairs), pairs.probe)


def measured(cell: Cell, store: ResultStore) -> dict[str, Any]:
    """Measurements, flags and card of ``cell``, which must be done."""
    record = run_cell(cell, store)
    assert record["status"] == "done", record["reason"]
    return {**record["measurements"], "flags": record["flags"], "card": record["card"]}
