"""One cell of the benchmark, and how it is run and recorded."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch

from frbench.harness.core.atomic import disk_full_named
from frbench.harness.core.contracts import Attack, Budget, Defense, Goal, Images, Recognizer, ThreatModel
from frbench.harness.core.errors import ConfigError, FrbenchError, Refused
from frbench.harness.core.face_data import PairSet, TestSet, UserSet
from frbench.harness.core.fingerprints import fingerprint, hyperparameters
from frbench.harness.core.flags import Flag
from frbench.harness.core.verifiers import Comparer
from frbench.harness.evaluation.audit import Audit
from frbench.harness.evaluation.execution import Execution
from frbench.harness.evaluation.shards import Filled, Shard
from frbench.harness.evaluation.smaller_batches import fitted, with_smaller_batches
from frbench.harness.recognizers.metering import Meter
from frbench.harness.storage.records import plain
from frbench.harness.storage.result_store import SCHEMA, Record, ResultStore


@dataclass(frozen=True)
class Outcome:
    """Measurements and flags of a protocol for the record.

    generated: whether this run made adversarial images. adversarial_images: their keys in the cache.
    """

    measurements: dict[str, Any]
    flags: list[Flag]
    generated: bool | None
    adversarial_images: Sequence[str] = ()


class ImagesOfPairs(NamedTuple):
    """Images of pairs: each float32 (n, 3, H, W), RGB in [0, 1], on the CPU."""

    clean: Images
    adversarial: Images
    reference: Images


class EvaluationProtocol(Protocol):
    """Computes the measurements of a cell.

    ``kind``: of its records, which decides how they are reported. ``evaluates``: ``PairSet`` or ``UserSet``.
    """

    kind: ClassVar[str]

    @property
    def evaluates(self) -> type[PairSet] | type[UserSet]: ...

    def evaluate(self, cell: Cell, store: ResultStore) -> Outcome: ...


@runtime_checkable
class ShowsImages(Protocol):
    """A protocol with one adversarial image for each pair."""

    def images(self, cell: Cell, store: ResultStore, index: np.ndarray | None) -> ImagesOfPairs:
        """Images of the pairs ``index`` of a cell with an attack, from the cache or made again; None for all.

        Raises ConfigError: a pair is not attacked.
        """
        ...


@runtime_checkable
class CraftsImages(Protocol):
    """A protocol whose adversarial images can be made ahead, block by block."""

    def craft(self, cell: Cell, store: ResultStore, shard: Shard) -> Filled:
        """Put the blocks of ``shard`` into the cache of ``store``. The defense of ``cell`` is fitted.

        Raises FrbenchError: as ``evaluate``.
        """
        ...


@runtime_checkable
class CalibratesVictim(Protocol):
    """A protocol on pairs, whose thresholds come from clean scores."""

    def calibrate(self, cell: Cell, store: ResultStore) -> None:
        """Put the clean scores of the recognizer, bare and defended, into the cache. The defense is fitted."""
        ...


@dataclass(frozen=True)
class Cell:
    """An attack with a goal, a budget and a threat model against a recognizer with a defense, on a dataset.

    Attributes:
        names: the option chosen for each noun.
        settings: the values that differ from the options' own files.
        attack: None evaluates the clean accuracy alone.
        floors: least clean accuracy of the recognizer in percent, by dataset.
        allow_low_accuracy: continue below that accuracy, with a flag.
        facts: for the run card, known before the run, such as the resolved config.
        fit: fits the defense, as the first step of the run, and returns the cell with the fitted defense.
    """

    names: Mapping[str, str]
    settings: Mapping[str, Any]
    data: TestSet
    recognizer: Recognizer | Comparer
    attack: Attack | None
    goal: Goal
    budget: Budget
    threat: ThreatModel
    defense: Defense
    protocol: EvaluationProtocol
    audit: Audit
    seed: int
    batch_size: int = field(compare=False)
    device: torch.device = field(compare=False)
    meter: Meter = field(compare=False)
    flags: tuple[Flag, ...] = ()
    floors: Mapping[str, float] = field(compare=False, default_factory=dict)
    allow_low_accuracy: bool = field(compare=False, default=False)
    facts: Mapping[str, Any] = field(compare=False, default_factory=dict)
    fit: Callable[[Cell], Cell] | None = field(compare=False, default=None)

    @property
    def pairs(self) -> PairSet:
        """The data of a protocol that evaluates pairs."""
        assert isinstance(self.data, PairSet), "check_data was not called"
        return self.data

    @property
    def users(self) -> UserSet:
        """The data of a protocol that evaluates users."""
        assert isinstance(self.data, UserSet), "check_data was not called"
        return self.data

    def fingerprint(self) -> str:
        """The key of the record. It does not depend on the device, the batch size or paths."""
        nouns = (
            self.recognizer,
            self.attack,
            self.goal,
            self.budget,
            self.threat,
            self.defense,
            self.protocol,
            self.audit,
        )
        data = (self.data.digest, self.data.attacked)
        return fingerprint(SCHEMA, dict(self.names), dict(self.settings), *data, *nouns, self.seed)

    def execution(self, store: ResultStore) -> Execution:
        """How the cell is computed, with the caches of ``store``."""
        return Execution(store, self.seed, self.batch_size, self.device)


_DATA = {PairSet: "pairs to verify", UserSet: "users with their photos"}
_EXAMPLES = {PairSet: ("dataset=lfw", "goal=dodging"), UserSet: ("dataset=cfp_users", "goal=cloak")}


def check_data(
    protocol: EvaluationProtocol, goal: Goal, attack: Attack | None, data: TestSet, names: Mapping[str, str]
) -> None:
    """Raises ConfigError: ``data``, or the goal of an attack, is not for the protocol."""
    wanted = protocol.evaluates
    dataset_option, goal_option = _EXAMPLES[wanted]
    if not isinstance(data, wanted):
        raise ConfigError(
            f"dataset={names['dataset']} has {_DATA[type(data)]} and protocol={names['protocol']} needs "
            f"{_DATA[wanted]}; take another data set, such as {dataset_option}, or another protocol"
        )
    if attack is not None and goal.achieved_on is not wanted:
        raise ConfigError(
            f"goal={names['goal']} is for {_DATA[goal.achieved_on]} and protocol={names['protocol']} needs "
            f"{_DATA[wanted]}; take another goal, such as {goal_option}, or another protocol"
        )


_DESCRIBED = ("attack", "goal", "budget", "threat", "defense", "protocol", "audit")


def run_cell(cell: Cell, store: ResultStore) -> Record:
    """The record of ``cell`` from ``store``, or from a run that is then stored.

    An impossible cell is recorded as refused with the reason, a crash with its traceback.

    Raises:
        FrbenchError: bad input; nothing is recorded.
        DiskFull: there is no room; nothing is recorded, and other cells would fail too.
    """
    name = cell.fingerprint()
    with store.lease(f"cell-{name}"):
        return store.finished(name) or evaluate(cell, store)


def evaluate(cell: Cell, store: ResultStore) -> Record:
    """As ``run_cell``, for a caller that holds the lease of the cell and knows that it has no record."""
    check_data(cell.protocol, cell.goal, cell.attack, cell.data, cell.names)
    started, outcome, status, reason = time.monotonic(), None, "done", None
    try:
        with disk_full_named(store.root):
            cell = fitted(cell)
            started = time.monotonic()  # fitting does not count: many cells share it
            cell.meter.reset()
            outcome, cell = with_smaller_batches(cell, lambda each: each.protocol.evaluate(each, store))
    except Refused as refusal:
        status, reason = "refused", str(refusal)
    except FrbenchError:
        raise
    except Exception:
        status, reason = "crashed", traceback.format_exc()
    return store.write_record(_record(cell, status, reason, outcome, time.monotonic() - started))


def crash_record(cell: Cell, store: ResultStore, reason: str) -> Record:
    """Record that ``cell`` crashed, such as in a fit that another cell tried before."""
    return store.write_record(_record(cell, "crashed", reason, None, 0.0))


def _record(cell: Cell, status: str, reason: str | None, outcome: Outcome | None, seconds: float) -> Record:
    return {
        "schema": SCHEMA,
        "fingerprint": cell.fingerprint(),
        "kind": cell.protocol.kind,
        "status": status,
        "reason": reason,
        "names": dict(cell.names),
        "settings": dict(cell.settings),
        "seed": cell.seed,
        "hyperparameters": plain({noun: hyperparameters(getattr(cell, noun)) for noun in _DESCRIBED}),
        "measurements": outcome.measurements if outcome else None,
        "flags": [*cell.flags, *(outcome.flags if outcome else [])],
        "card": {
            **cell.facts,
            "seconds": round(seconds, 3),
            "forwards": cell.meter.forwards,
            "backwards": cell.meter.backwards,
            "ms_per_image": cell.meter.ms_per_image,
            "attack_generated": outcome.generated if outcome else None,
            "adversarial_images": list(outcome.adversarial_images) if outcome else [],
            "batch_size": cell.batch_size,
        },
    }
