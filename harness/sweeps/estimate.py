"""What a sweep will cost, from a few timed batches: forward and backward passes, hours, bytes.

Nothing is recorded. Each attacker and each defended recognizer is timed on one batch, and the passes, time and bytes of
one pair are multiplied by the number of pairs. Caches, attacks that stop early, and other load make the real figures
differ. Fits and clean scores are not part of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from frbench.harness.core.contracts import Draw, Fittable, Verifier, Victim
from frbench.harness.core.counter_rng import Stream
from frbench.harness.core.errors import ConfigError, FrbenchError
from frbench.harness.core.face_data import PairSet
from frbench.harness.core.verifiers import lifted
from frbench.harness.evaluation.cell import Cell
from frbench.harness.evaluation.crafting import Crafting
from frbench.harness.images.delta_coding import encode
from frbench.harness.protocols.pair_common import attacked_pairs
from frbench.harness.storage import array_files
from frbench.harness.storage.result_store import ResultStore
from frbench.harness.sweeps.built_cells import built
from frbench.harness.sweeps.plan import Plan, PlannedCell

_FIRST = 4  # pairs of the first, short batch
_SHORT = 2.0  # seconds; after a shorter batch a whole one is timed
_THRESHOLD = 0.3  # a cosine in place of the calibrated threshold: it only decides when attacks stop early


@runtime_checkable
class JudgesPairs(Protocol):
    """A protocol that scores the images of a pair once, after each transform, and as noise, on each draw."""

    @property
    def num_draws(self) -> int: ...

    @property
    def postprocessing(self) -> Mapping[str, Any] | None: ...


@dataclass(frozen=True)
class Cost:
    """A cost, of one pair or in all. forwards, backwards: images through a network. bytes: in the cache."""

    images: float = 0.0
    forwards: float = 0.0
    backwards: float = 0.0
    seconds: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(a + b for a, b in zip(self._values, other._values, strict=True)))

    def __mul__(self, factor: float) -> Cost:
        return Cost(*(each * factor for each in self._values))

    @property
    def _values(self) -> tuple[float, ...]:
        return (self.images, self.forwards, self.backwards, self.seconds, self.bytes)


@dataclass(frozen=True)
class Estimate:
    """The cost of the cells that remain.

    Attributes:
        cost: of all cells whose cost is known.
        untimed: numbers of cells without an estimate -> the reason, such as a defense that is not fitted.
    """

    cost: Cost
    untimed: Mapping[int, str]


@dataclass
class Estimator:
    """Estimates the cost of cells; each attacker and each defended recognizer is timed once."""

    plan: Plan
    store: ResultStore
    _timed: dict[Hashable, Cost] = field(default_factory=dict)

    def estimate(self, ended: Iterable[int]) -> Estimate:
        """The cost of all cells but the ``ended`` ones, whose images exist already."""
        over = set(ended)
        made = {cell.images for cell in self.plan.cells if cell.number in over}
        total, untimed = Cost(), dict[int, str]()
        for planned in self.plan.cells:
            if planned.number in over:
                continue
            try:
                total += self._cost(planned, planned.images is not None and planned.images not in made)
            except FrbenchError as error:
                untimed[planned.number] = str(error)
            else:
                made.add(planned.images)
        return Estimate(total, untimed)

    def _cost(self, planned: PlannedCell, makes_images: bool) -> Cost:
        cell = self._fitted(built(self.plan, planned))
        if not isinstance(cell.data, PairSet):
            raise ConfigError("cells with users in place of pairs are not timed")
        if cell.attack is None:
            return Cost()
        index = attacked_pairs(cell)
        parts = planned.parts
        victim = (parts["recognizer"], parts["defense"], parts["protocol"])
        cost = self._once(("judge", *victim), lambda: _judging(cell, index, self.store)) * len(index)
        if makes_images:
            attacker = (parts["attack"], parts["threat"], parts["budget"], *victim)
            cost += self._once(("craft", *attacker), lambda: _crafting(cell, index, self.store)) * len(index)
        return cost

    def _once(self, key: Hashable, measure: Callable[[], Cost]) -> Cost:
        if key not in self._timed:
            self._timed[key] = measure()
        return self._timed[key]

    def _fitted(self, cell: Cell) -> Cell:
        """``cell`` with the fitted defense. Raises ConfigError: it is not fitted yet."""
        defense = cell.defense
        if cell.fit is None:
            return cell
        artifact = defense.artifact if isinstance(defense, Fittable) else None
        if artifact is not None and not self.store.artifact(artifact.key).exists():
            raise ConfigError("its defense is not fitted yet")
        return cell.fit(cell)


def _crafting(cell: Cell, index: np.ndarray, store: ResultStore) -> Cost:
    """The cost of the images of one pair."""
    assert cell.attack is not None
    bare, count = lifted(cell.recognizer), len(cell.pairs)

    def thresholds(verifier: Verifier) -> torch.Tensor:
        return torch.full((count,), _THRESHOLD)

    views = cell.threat.views(Victim(bare, cell.defense, lifted, thresholds, cell.seed))
    seen = cell.attack, cell.goal, cell.budget, cell.execution(store)
    crafting = Crafting(cell.pairs, views, cell.defense.protect(bare), *seen)

    def craft(part: np.ndarray) -> int:
        block = crafting.fresh(part)
        clean = cell.pairs.batch(part).probe.numpy()
        return len(array_files.written(encode(block.images.numpy(), clean)))

    return replace(_timed_per_pair(cell, index, craft), images=1.0)


def _judging(cell: Cell, index: np.ndarray, store: ResultStore) -> Cost:
    """The cost of the decisions on the images of one pair."""
    victim = cell.defense.protect(lifted(cell.recognizer))
    protocol = cell.protocol
    images, draws = 1, 1
    if isinstance(protocol, JudgesPairs):
        images, draws = 2 + len(protocol.postprocessing or ()), protocol.num_draws if victim.random else 1

    def judge(part: np.ndarray) -> int:
        batch, draw = cell.pairs.batch(part, cell.device), Draw(cell.seed, Stream.JUDGING)
        with torch.no_grad():
            victim.score(batch.probe, victim.enroll(batch.reference, batch.index, draw), draw)
        return 0

    return _timed_per_pair(cell, index, judge) * (images * draws)


def _timed_per_pair(cell: Cell, index: np.ndarray, work: Callable[[np.ndarray], int]) -> Cost:
    """The cost of ``work`` for one pair: timed on a few, and on a whole batch where that is fast. It returns bytes."""
    for count in (_FIRST, cell.batch_size):
        part = index[:count]
        cell.meter.reset()
        started = time.monotonic()
        size = work(part)
        seconds = time.monotonic() - started
        cost = Cost(0.0, cell.meter.forwards, cell.meter.backwards, seconds, size) * (1 / max(len(part), 1))
        if seconds > _SHORT or len(part) < count:
            break
    return cost
